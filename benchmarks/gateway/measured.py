"""What is measured, under which load: plain values."""

from __future__ import annotations

from dataclasses import dataclass, field

SHAPES = ("json", "sse")


@dataclass(frozen=True)
class Gateway:
    """One that answers chat completions. `pids`: whose CPU and memory count as its own, with their children."""

    name: str
    url: str
    pids: tuple[int, ...]
    headers: dict[str, str] = field(default_factory=dict)
    database_url: str = ""


@dataclass(frozen=True)
class Setting:
    """A load: `rate_per_s` 0 is as fast as `connections` go, else requests are due at that rate."""

    shape: str
    connections: int
    rate_per_s: float = 0

    @property
    def name(self) -> str:
        paced = f" at {self.rate_per_s:.0f}/s" if self.rate_per_s else ""
        return f"{self.shape}, {self.connections} connection{'s' if self.connections > 1 else ''}{paced}"


class NotMeasured(Exception):
    """A gateway that cannot be had, did not start, or did not answer as the upstream did; says why."""
