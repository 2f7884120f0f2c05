"""An upstream that speaks OpenAI's chat completions, for tests: counts its calls, misbehaves on request."""

from __future__ import annotations

from tests.upstream.process import FakeUpstream, run_upstream

__all__ = ["FakeUpstream", "run_upstream"]
