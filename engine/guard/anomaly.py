"""Whether a request costs far more than the tenant's requests do: a z-score of the logarithm of what it can cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

MIN_SAMPLES = 20
WINDOW = 200
"""So many requests weigh as much as all that came before them."""
MAX_Z = 4.0
MIN_DEVIATION = 0.35
"""Of the logarithm: below it a steady series would call every small change an outlier. Four of them are fourfold."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Moving mean and variance of ln(cost in nanos), and of how many requests."""

    samples: int = 0
    mean: float = 0.0
    variance: float = 0.0

    def z_score(self, usd_nanos: int) -> float | None:
        """None before there are enough samples to judge by."""
        if self.samples < MIN_SAMPLES:
            return None
        return (math.log(max(1, usd_nanos)) - self.mean) / max(math.sqrt(self.variance), MIN_DEVIATION)

    def with_cost(self, usd_nanos: int) -> Costs:
        samples = self.samples + 1
        weight = 1 / min(samples, WINDOW)
        off = math.log(max(1, usd_nanos)) - self.mean
        mean = self.mean + weight * off
        return Costs(samples, mean, (1 - weight) * (self.variance + weight * off * off))


def is_anomalous(costs: Costs, usd_nanos: int) -> bool:
    """Only what is far dearer counts; what is far cheaper harms nobody."""
    score = costs.z_score(usd_nanos)
    return score is not None and score > MAX_Z
