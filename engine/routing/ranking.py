"""Which model serves a request: one pure function from candidates, request, policy and measures to a ranking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.catalog import Model
from engine.errors import FundsInsufficient, ModelNotAllowed, ModelUnavailable, NoModelServes
from engine.options import Options
from engine.routing.candidate import Candidate, Needs
from engine.routing.exclusion import RULES, Excluded, ModelPolicy, exclusion, lists_of
from engine.routing.measures import Measured, seed_of
from engine.routing.scoring import Scored, scored
from engine.routing.traits import Traits, traits_of
from ledger.errors import AgentNodeError

ENOUGH_QUALITY = 0.3
"""Above the offline provider's and below every real tier's: who has less is chosen after all others, unless named."""
_NOBODY: Mapping[str, Any] = {}
_PARAMS = {
    "provider_excluded": "p402.exclude_providers",
    "window_too_small": "messages",
    "tier_too_high": "p402.max_tier",
    "too_dear": "p402.max_cost",
}


@dataclass(frozen=True, slots=True)
class Ranking:
    """Who can serve, best first, and who cannot."""

    needs: Needs
    options: Options
    chosen: list[Scored]
    excluded: list[Excluded]

    def refusal(self) -> AgentNodeError:
        """The error of a request that nobody here can serve, told by whoever came closest to it."""
        assert not self.chosen
        if not self.excluded:
            return ModelUnavailable("no model can be called here; set the key of an upstream")
        order = list(RULES)
        closest = max(self.excluded, key=lambda each: order.index(each.rule))
        same = [each for each in self.excluded if each.rule == closest.rule]
        others = f" (and {len(same) - 1} more)" if len(same) > 1 else ""
        text = f"nobody here can serve this; closest came {closest.model_id}{others}: {closest.reason}"
        if self.needs.wanted is not None:
            text = f"{closest.model_id} cannot serve this: {closest.reason}"
        match closest.rule:
            case "model_denied" | "vendor_denied":
                return ModelNotAllowed(text, param="model")
            case "no_key":
                return ModelUnavailable(text)
            case "test_money":
                return FundsInsufficient(text)
            case rule:
                return NoModelServes(text, param=_PARAMS.get(rule, "model"))

    def as_dict(self, most: int | None = None) -> dict[str, Any]:
        """The whole scoring, for the trace and the explanation; with `most`, that many candidates and mere counts."""
        answer: dict[str, Any] = {
            "mode": self.options.mode,
            "wanted": self.needs.wanted,
            "needs": sorted(self.needs.capabilities),
            "prompt_tokens": self.needs.prompt_tokens,
            "answer_tokens": self.needs.answer_tokens,
            "candidates": [each.as_dict(self.options.weights) for each in self.chosen[:most]],
        }
        if most is None:
            reasons = [{"model": each.model_id, "rule": each.rule, "reason": each.reason} for each in self.excluded]
            return answer | {"excluded": reasons}
        return answer | {"excluded": dict(Counter(each.rule for each in self.excluded))}


def rank(
    candidates: Sequence[Candidate],
    needs: Needs,
    options: Options,
    policy: ModelPolicy | None = None,
    *,
    measured: Callable[[Model], Measured] = seed_of,
    outcomes: Mapping[str, tuple[int, int]] = _NOBODY,
    missing_keys: Mapping[str, str] = _NOBODY,
    test_money: bool = False,
    traits: Callable[[Model], Traits] = traits_of,
) -> Ranking:
    """Pure: the same in whatever order the candidates come, and what one of them is worth depends on no other.

    `outcomes` are the tenant's own by model id, (accepted, all); `missing_keys` by upstream, the variable to set;
    `test_money` is all that can pay.
    """
    chosen: list[tuple[bool, float, float, int, str, Scored]] = []
    excluded: list[Excluded] = []
    wanted, lists = needs.wanted, lists_of(policy)
    for candidate in candidates:
        known = traits(candidate.model)
        out = exclusion(candidate, known, needs, options, lists, missing_keys, test_money)
        if out is not None:
            excluded.append(out)
            continue
        own = outcomes.get(known.id, (0, 0)) if outcomes else (0, 0)
        found = scored(candidate, known, needs, options, measured(candidate.model), own)
        # Named: the very id before the same name at another upstream. Else those of enough quality before the
        # others, and these by quality. Then by score, by cost, by id (which no two have, so scores are not compared).
        later, worse = known.id != wanted, 0.0
        if wanted is None:
            later = found.quality < ENOUGH_QUALITY
            worse = -found.quality if later else 0.0
        chosen.append((later, worse, -found.score, found.expected_usd_nanos, known.id, found))
    chosen.sort()
    excluded.sort()
    return Ranking(needs, options, [each[-1] for each in chosen], excluded)
