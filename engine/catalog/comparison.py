"""What the same work costs with each model: a ranking by price, and three picks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from engine.catalog.model import Model
from engine.catalog.price import cost_usd_nanos
from engine.usage import Usage


@dataclass(frozen=True)
class Compared:
    """One model at one piece of work. The two parts sum to the cost."""

    model: Model
    available: bool
    cost_usd_nanos: int
    input_usd_nanos: int
    output_usd_nanos: int


@dataclass(frozen=True)
class Picks:
    """None where nothing can be called here."""

    cheapest: Compared | None
    best_value: Compared | None
    """The most quality for its price."""
    fastest: Compared | None


def compare(
    models: Iterable[Model], input_tokens: int, output_tokens: int, is_available: Callable[[str], bool]
) -> list[Compared]:
    """The cheapest first, ties by id. `is_available` is asked for each provider."""
    compared = [_compared(model, input_tokens, output_tokens, is_available(model.provider)) for model in models]
    return sorted(compared, key=lambda each: (each.cost_usd_nanos, each.model.id))


def expected_ms(model: Model, output_tokens: int) -> float:
    """Until the whole answer is there, by the figures that the catalog assumes."""
    return model.seed_first_token_ms + 1_000 * output_tokens / model.seed_tokens_per_s


def picks(
    compared: Sequence[Compared],
    output_tokens: int,
    expected: Callable[[Model, int], float] = expected_ms,
) -> Picks:
    """Among those that can be called here. The offline model, which is none, is picked where nothing else is."""
    callable_here = [each for each in compared if each.available]
    real = [each for each in callable_here if each.model.tier != "offline"] or callable_here
    if not real:
        return Picks(None, None, None)
    return Picks(
        cheapest=real[0],
        best_value=max(real, key=lambda each: (each.model.quality or 0) / max(each.cost_usd_nanos, 1)),
        fastest=min(real, key=lambda each: expected(each.model, output_tokens)),
    )


def _compared(model: Model, input_tokens: int, output_tokens: int, available: bool) -> Compared:
    cost = cost_usd_nanos(Usage(input_tokens=input_tokens, output_tokens=output_tokens), model.price)
    # The rate of the answer hangs on the prompt's size, so the answer has what the prompt leaves of the whole.
    prompt = cost_usd_nanos(Usage(input_tokens=input_tokens), model.price)
    return Compared(model, available, cost, prompt, cost - prompt)
