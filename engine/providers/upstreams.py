"""The table of upstreams that speak OpenAI's API: where they are, whose key they take, who prices them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from engine.upstream import Upstream

KNOWN: dict[str, Upstream] = {
    upstream.name: upstream
    for upstream in (
        Upstream(
            "openai",
            "https://api.openai.com/v1",
            api_key_env="OPENAI_API_KEY",
            price_list="openai",
            max_tokens_field="max_completion_tokens",
        ),
        Upstream(
            "openrouter",
            "https://openrouter.ai/api/v1",
            api_key_env="OPENROUTER_API_KEY",
            price_list="openrouter",
        ),
    )
}
"""What works with nothing but a key in the environment."""


def with_known(own: Sequence[Upstream], environ: Mapping[str, str]) -> list[Upstream]:
    """The operator's upstreams and the known ones, one for each name, the operator's first.

    `OPENAI_BASE_URL` and `OPENROUTER_BASE_URL` in the environment move the known ones, as their own SDKs have it.
    """
    by_name = {upstream.name: upstream for upstream in own}
    for name, known in KNOWN.items():
        base_url = environ.get(f"{name.upper()}_BASE_URL") or known.base_url
        by_name.setdefault(name, dataclasses.replace(known, base_url=base_url.rstrip("/")))
    return list(by_name.values())
