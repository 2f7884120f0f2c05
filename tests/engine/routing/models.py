"""Models to choose from: a dozen like those of the market, the same one at two upstreams, and the offline one."""

from __future__ import annotations

from engine import OFFLINE, CompletionRequest, Model
from engine.catalog import ModelPrice, TokenRate
from engine.guard import bound
from engine.options import DEFAULTS, Options
from engine.routing import Candidate, Ranking
from engine.routing.candidate import needs_of
from engine.routing.exclusion import ModelPolicy
from engine.routing.measures import Measured
from engine.routing.ranking import rank
from ledger.money import MAX_USD_NANOS

TALKS = frozenset({"chat", "code", "function_calling", "json"})
SEES = TALKS | {"vision"}
THINKS = SEES | {"reasoning"}


def model(
    provider: str,
    name: str,
    input_usd: float = 1.0,
    output_usd: float = 2.0,
    quality: float | None = 0.5,
    tier: str | None = "mid",
    capabilities: frozenset[str] | None = TALKS,
    window: int | None = 128_000,
) -> Model:
    fresh, output = TokenRate(int(input_usd * 10**9)), TokenRate(int(output_usd * 10**9))
    price = ModelPrice(fresh, fresh, fresh, output, output, "test")
    return Model(provider, name, price, "a test", window, 16_384, tier, quality, capabilities)


MODELS = [
    model("openai", "gpt-4.1-nano", 0.1, 0.4, 0.42, "budget", SEES, 1_047_576),
    model("openai", "gpt-4o", 2.5, 10, 0.62, "premium", SEES),
    model("openai", "gpt-5.2", 1.75, 14, 0.9, "premium", THINKS, 400_000),
    model("anthropic", "claude-opus-4-6", 5, 25, 0.93, "premium", THINKS, 200_000),
    model("anthropic", "claude-haiku-4-5", 1, 5, 0.66, "mid", THINKS, 200_000),
    model("google", "gemini-3-flash", 0.3, 2.5, 0.71, "mid", THINKS, 1_000_000),
    model("deepseek", "deepseek-chat", 0.28, 0.42, 0.72, "budget", TALKS),
    model("groq", "llama-3.3-70b-versatile", 0.59, 0.79, 0.48, "budget", TALKS),
    model("openrouter", "openai/gpt-4o", 2.5, 10, 0.62, "premium", SEES),
    model("openrouter", "deepseek/deepseek-chat:free", 0, 0, 0.72, "budget", frozenset({"chat"}), 64_000),
    model("vllm", "unknown", 0.01, 0.01, None, None, None, None),
    model("tiny", "tiny-1b", 0.01, 0.02, 0.2, "budget", frozenset({"chat"}), 8_000),
    OFFLINE,
]
MEASURED = {
    "groq/llama-3.3-70b-versatile": Measured(180, 4, 0.99, 40),
    "openai/gpt-4.1-nano": Measured(350, 9, 0.995, 50),
    "anthropic/claude-opus-4-6": Measured(1_500, 22, 0.98, 20),
    "openrouter/openai/gpt-4o": Measured(700, 14, 0.97, 30),
    "openrouter/deepseek/deepseek-chat:free": Measured(2_500, 40, 0.7, 30),
    "offline/extract": Measured(3, 0.05, 1.0, 50),
}


def measured(of: Model) -> Measured:
    return MEASURED.get(of.id, Measured(800, 20, 0.98, 0))


def ranking(
    request: CompletionRequest,
    options: Options = DEFAULTS,
    policy: ModelPolicy | None = None,
    models: list[Model] = MODELS,
) -> Ranking:
    most = MAX_USD_NANOS if options.max_cost_usd_nanos is None else options.max_cost_usd_nanos
    candidates = [
        Candidate(each, bound(request, each, most))
        for each in models
        if request.wanted is None or each.answers_to(request.wanted)
    ]
    return rank(candidates, needs_of(request), options, policy, measured=measured)


def ids(found: Ranking) -> list[str]:
    return [each.candidate.model.id for each in found.chosen]
