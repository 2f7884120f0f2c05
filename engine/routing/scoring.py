"""What a candidate is worth: cost, quality and speed on fixed scales, weighted, times how surely it answers.

The scales are absolute, so that nobody's place depends on who else is there. docs/routing.md has the formula.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from engine.options import Options, Weights
from engine.routing.candidate import Candidate, Needs
from engine.routing.measures import Measured
from engine.routing.traits import Traits
from ledger.money import usd_fields

CHEAPEST_NANOS_PER_MTOK = 10_000_000
DEAREST_NANOS_PER_MTOK = 100_000_000_000
"""0.01 and 100 USD for a million of the call's tokens, prompt and answer together."""
FASTEST_MS = 100.0
SLOWEST_MS = 100_000.0
"""For the whole answer."""
OUTCOME_PRIOR = 20
"""The stated quality counts as so many of the tenant's own outcomes."""
PREFERRED_PROVIDER = 0.2
PREFERRED_TIER = 0.1

_COST_SPAN = math.log(DEAREST_NANOS_PER_MTOK / CHEAPEST_NANOS_PER_MTOK)
_SPEED_SPAN = math.log(SLOWEST_MS / FASTEST_MS)


class Scored(NamedTuple):
    """A candidate with everything that made its score. All parts but the expectations are from 0 to 1."""

    candidate: Candidate
    score: float
    cost: float
    quality: float
    speed: float
    bonus: float
    expected_usd_nanos: int
    expected_ms: float
    measured: Measured
    outcomes: tuple[int, int]

    def as_dict(self, weights: Weights) -> dict[str, Any]:
        """For the trace and the explanation: every part, its weight, and the figures behind it."""
        model, measured = self.candidate.model, self.measured
        accepted, total = self.outcomes
        return {
            "model": model.id,
            "provider": model.provider,
            "score": _shown(self.score),
            "cost": {
                "score": _shown(self.cost),
                "weight": _shown(weights.cost),
                **usd_fields("expected_usd", self.expected_usd_nanos),
                **usd_fields("most_usd", self.candidate.bound.usd_nanos),
            },
            "quality": {
                "score": _shown(self.quality),
                "weight": _shown(weights.quality),
                "stated": model.quality,
                "source": model.quality_source,
                "accepted": accepted,
                "outcomes": total,
            },
            "speed": {
                "score": _shown(self.speed),
                "weight": _shown(weights.speed),
                "expected_ms": round(self.expected_ms),
                "first_token_ms": round(measured.first_token_ms),
                "tokens_per_s": round(measured.tokens_per_s, 1),
            },
            "success": _shown(measured.success),
            "samples": round(measured.samples, 1),
            "bonus": self.bonus,
        }


def scored(
    candidate: Candidate,
    traits: Traits,
    needs: Needs,
    options: Options,
    measured: Measured,
    outcomes: tuple[int, int] = (0, 0),
) -> Scored:
    """`outcomes` are the tenant's own with this model: (accepted, all)."""
    prompt_tokens, answer_tokens = needs.prompt_tokens, needs.answer_tokens
    if traits.stepped:
        price = candidate.model.price
        input_rate, output_rate = price.input.at(prompt_tokens), price.output.at(prompt_tokens)
    else:
        input_rate, output_rate = traits.input_nanos_per_mtok, traits.output_nanos_per_mtok
    nanos_times_mtok = prompt_tokens * input_rate + answer_tokens * output_rate
    expected_ms = measured.first_token_ms + answer_tokens * measured.ms_per_token
    cost = cost_score(nanos_times_mtok / (prompt_tokens + answer_tokens))
    quality = quality_score(traits.quality, outcomes)
    speed = speed_score(expected_ms)
    bonus = 0.0
    if options.prefer_providers and traits.vendors & options.prefer_providers:
        bonus += PREFERRED_PROVIDER
    if options.prefer_tier is not None and candidate.model.tier == options.prefer_tier:
        bonus += PREFERRED_TIER
    weights = options.weights
    worth = weights.cost * cost + weights.quality * quality + weights.speed * speed + bonus
    return Scored(
        candidate,
        measured.success * worth,
        cost,
        quality,
        speed,
        bonus,
        -(-nanos_times_mtok // 1_000_000),
        expected_ms,
        measured,
        outcomes,
    )


def cost_score(nanos_per_mtok: float) -> float:
    """1 at a cent for a million tokens and less, 0 at a hundred dollars and more; each tenfold is a quarter."""
    if nanos_per_mtok <= CHEAPEST_NANOS_PER_MTOK:
        return 1.0
    return max(0.0, 1.0 - math.log(nanos_per_mtok / CHEAPEST_NANOS_PER_MTOK) / _COST_SPAN)


def speed_score(expected_ms: float) -> float:
    """1 at a tenth of a second and less, 0 at a hundred seconds and more; each tenfold is a third."""
    if expected_ms <= FASTEST_MS:
        return 1.0
    return max(0.0, 1.0 - math.log(expected_ms / FASTEST_MS) / _SPEED_SPAN)


def quality_score(stated: float, outcomes: tuple[int, int]) -> float:
    accepted, total = outcomes
    return stated if total == 0 else (stated * OUTCOME_PRIOR + accepted) / (OUTCOME_PRIOR + total)


def _shown(part: float) -> float:
    return round(part, 4)
