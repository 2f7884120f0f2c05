"""An upstream for tests that speaks OpenAI's and Anthropic's API, counts its calls, and misbehaves on request."""

from __future__ import annotations

from tests.upstream.faults import FaultScript, Phase, random_scripts
from tests.upstream.process import FakeUpstream, run_upstream

__all__ = ["FakeUpstream", "FaultScript", "Phase", "random_scripts", "run_upstream"]
