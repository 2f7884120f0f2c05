"""The table of known upstreams: where they are, whose key they take, who prices them, and in what they differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from engine.upstream import Upstream

_LEGACY = ("functions", "function_call")
_LOGPROBS = ("logprobs", "top_logprobs", "logit_bias")

KNOWN: dict[str, Upstream] = {
    upstream.name: upstream
    for upstream in (
        Upstream(
            "openai",
            "https://api.openai.com/v1",
            api_key_env="OPENAI_API_KEY",
            title="OpenAI",
            price_list="openai",
            max_tokens_field="max_completion_tokens",
        ),
        Upstream(
            "anthropic",
            "https://api.anthropic.com/v1",
            api_key_env="ANTHROPIC_API_KEY",
            title="Anthropic",
            price_list="anthropic",
            api="anthropic",
            unsupported=frozenset(
                {*_LEGACY, *_LOGPROBS, "n", "seed", "presence_penalty", "frequency_penalty"}
                | {"verbosity", "reasoning_effort"}
            ),
        ),
        Upstream(
            "openrouter",
            "https://openrouter.ai/api/v1",
            api_key_env="OPENROUTER_API_KEY",
            title="OpenRouter",
            price_list="openrouter",
            bare_makers=("openai", "anthropic", "google", "x-ai", "mistralai", "deepseek", "cohere"),
        ),
        Upstream(
            "google",
            "https://generativelanguage.googleapis.com/v1beta/openai",
            api_key_env="GEMINI_API_KEY",
            title="Google",
            price_list="google",
            priced_prefixes=("gemini-", "gemma-"),
            unsupported=frozenset({*_LEGACY, *_LOGPROBS, "seed"}),
        ),
        Upstream(
            "groq",
            "https://api.groq.com/openai/v1",
            api_key_env="GROQ_API_KEY",
            title="Groq",
            price_list="groq",
            max_tokens_field="max_completion_tokens",
            unsupported=frozenset(_LOGPROBS),
            first_token_ms=200,
            tokens_per_s=300,
        ),
        Upstream(
            "deepseek",
            "https://api.deepseek.com",
            api_key_env="DEEPSEEK_API_KEY",
            title="DeepSeek",
            price_list="deepseek",
            unsupported=frozenset({*_LEGACY, "n", "seed", "logit_bias"}),
        ),
        Upstream(
            "mistral",
            "https://api.mistral.ai/v1",
            api_key_env="MISTRAL_API_KEY",
            title="Mistral",
            price_list="mistral",
            maker_prefix="mistralai",
            renamed=(("seed", "random_seed"),),
            unsupported=frozenset({*_LEGACY, *_LOGPROBS}),
            streams_usage=False,
        ),
        Upstream(
            "perplexity",
            "https://api.perplexity.ai",
            api_key_env="PERPLEXITY_API_KEY",
            title="Perplexity",
            unsupported=frozenset(
                {"n", "seed", "logit_bias", "logprobs", "top_logprobs", "functions", "function_call"}
            ),
        ),
        Upstream(
            "ai21",
            "https://api.ai21.com/studio/v1",
            api_key_env="AI21_API_KEY",
            title="AI21",
            unsupported=frozenset({*_LEGACY, *_LOGPROBS, "seed"}),
        ),
        Upstream(
            "together",
            "https://api.together.xyz/v1",
            api_key_env="TOGETHER_API_KEY",
            title="Together AI",
            price_list="together",
        ),
        Upstream(
            "fireworks",
            "https://api.fireworks.ai/inference/v1",
            api_key_env="FIREWORKS_API_KEY",
            title="Fireworks AI",
            price_list="fireworks",
            model_prefix="accounts/fireworks/models/",
        ),
        Upstream(
            "cohere",
            "https://api.cohere.ai/compatibility/v1",
            api_key_env="CO_API_KEY",
            title="Cohere",
            price_list="cohere",
            unsupported=frozenset({*_LEGACY, "n", "logit_bias", "parallel_tool_calls"}),
        ),
        Upstream(
            "xai",
            "https://api.x.ai/v1",
            api_key_env="XAI_API_KEY",
            title="xAI",
            price_list="x-ai",
            maker_prefix="x-ai",
            unsupported=frozenset({*_LEGACY, "logit_bias"}),
        ),
    )
}
"""What works with nothing but a key in the environment."""


def with_known(own: Sequence[Upstream], environ: Mapping[str, str]) -> list[Upstream]:
    """The operator's upstreams and the known ones, one for each name, the operator's first.

    `OPENAI_BASE_URL`, `OPENROUTER_BASE_URL` and so on in the environment move the known ones, as SDKs have it.
    """
    by_name = {upstream.name: upstream for upstream in own}
    for name, known in KNOWN.items():
        base_url = environ.get(f"{name.upper()}_BASE_URL") or known.base_url
        by_name.setdefault(name, dataclasses.replace(known, base_url=base_url.rstrip("/")))
    return list(by_name.values())
