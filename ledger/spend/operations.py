"""What a batch is made of: what callers ask of the spend path, and what each of them is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from ledger.spend.takes import How

HoldState = Literal["held", "captured", "released"]
EndsBy = Literal["lease", "chain"]
EventRow: TypeAlias = dict[str, Any]
"""The values of a row of `economic_events`"""
VaultRow: TypeAlias = dict[str, Any]
"""The values of a row of `vault_items`"""


@dataclass(slots=True)
class Hold:
    """Money taken from budgets for a spend that is under way. Its fields are the columns of `holds`.

    Changed by nobody, and yet not frozen: that takes three times as long to make.
    """

    id: str
    tenant_id: str
    budgets: tuple[str, ...]
    hows: tuple[How, ...]
    """how it takes from each of them"""
    amount_usd_nanos: int
    owner: str
    lease_until_us: int
    ends_by: EndsBy
    created_at_us: int
    state: HoldState = "held"
    fence: int = 1
    """rises when somebody other than its owner ends it"""
    sent_at_us: int | None = None
    floor_usd_nanos: int = 0
    """what is captured if the owner dies after sending"""
    floor_event: EventRow | None = None
    """that says so; forgotten at its end, when the event itself stands"""
    captured_usd_nanos: int = 0
    overrun_usd_nanos: int = 0
    event_id: str | None = None
    ended_by: Literal["owner", "sweeper"] | None = None
    ended_at_us: int | None = None
    parts: tuple[int, ...] = ()
    """what it holds of each budget, and once it has ended, what it spent of each"""
    request_key: str | None = None
    """of equal requests the same, where the caller may send one again (`Spend.twin`)"""


@dataclass(frozen=True, slots=True)
class Reserve:
    hold: Hold
    """as it will stand if every budget has room"""
    least_usd_nanos: int
    """where there is room for less than the hold's amount, it takes what there is, and at least this"""


@dataclass(frozen=True, slots=True)
class Capture:
    hold_id: str
    amount_usd_nanos: int
    fence: int | None
    to_account: str
    event: EventRow | None
    at_us: int
    kept: VaultRow | None = None
    """content that is kept with the capture"""
    most_usd_nanos: int | None = None
    """what it may come to, though budgets had room for more"""


@dataclass(frozen=True, slots=True)
class Release:
    hold_id: str
    fence: int | None
    event: EventRow | None
    at_us: int


@dataclass(frozen=True, slots=True)
class MarkSent:
    hold_id: str
    fence: int | None
    floor_usd_nanos: int
    event: EventRow | None
    at_us: int


@dataclass(frozen=True, slots=True)
class Renew:
    hold_id: str
    fence: int | None
    lease_until_us: int


@dataclass(frozen=True, slots=True)
class Expire:
    """The sweeper's: end the hold if its lease has run out by `at_us`."""

    hold_id: str
    at_us: int


@dataclass(frozen=True, slots=True)
class Record:
    event: EventRow
    counts: tuple[str, ...] = ()
    """budgets that it takes one unit of, for good"""


Operation: TypeAlias = Reserve | Capture | Release | MarkSent | Renew | Expire | Record


@dataclass(frozen=True, slots=True)
class Held:
    hold: Hold
    fresh: bool
    """false where the hold was there before, from the same request"""


@dataclass(frozen=True, slots=True)
class Refused:
    budget_id: str
    room_usd_nanos: int


@dataclass(frozen=True, slots=True)
class UnknownBudget:
    budget_id: str


@dataclass(frozen=True, slots=True)
class UnknownHold:
    hold_id: str


@dataclass(frozen=True, slots=True)
class Differs:
    """The same id came before with something else."""

    field: str


@dataclass(frozen=True, slots=True)
class Paid:
    """What one share paid, and the room that its budget has then."""

    budget_id: str
    usd_nanos: int
    room_usd_nanos: int


@dataclass(frozen=True, slots=True)
class Captured:
    captured_usd_nanos: int
    overrun_usd_nanos: int
    """what was spent above the hold and no budget had room for: the node bears it"""
    event_id: str | None
    shares: tuple[Paid, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """The hold ended otherwise, before this was asked."""

    state: HoldState


@dataclass(frozen=True, slots=True)
class Done:
    pass


@dataclass(frozen=True, slots=True)
class NotDue:
    """Not for the sweeper: ended already, renewed, or for the chain to end."""


Outcome: TypeAlias = Held | Refused | UnknownBudget | UnknownHold | Differs | Captured | Ended | Done | NotDue


class Ledger(Protocol):
    """One database's way to lock, decide and apply. Each batch is one transaction."""

    async def open(self) -> None: ...

    async def apply(self, batch: Sequence[Operation]) -> list[Outcome]:
        """An outcome for each operation, in order, all of them committed.

        Applying a batch again after its answer was lost changes nothing: ids are made before.
        Raises DatabaseUnavailable where nothing is known of the batch; any other exception means that nothing
        was committed, and that one of the operations may be the culprit.
        """
        ...

    async def close(self) -> None: ...
