"""Where a task's caller wants to hear of it: kept per task, its URL and secrets sealed in the vault."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlmodel import col, delete, func, select

from agentnode.push.errors import PushMissing, PushRefused
from agentnode.push.tables import PushConfigRow
from ledger.clock import Clock
from ledger.database import AsyncSession, Database
from ledger.errors import InvalidInput
from ledger.vault import Vault
from ledger.work import Letter, Outbox
from trust.addresses import parse_url
from trust.errors import FetchFailed
from trust.web import GuardedClient

_MOST_OF_A_TASK = 8
_LONGEST = 4_096


@dataclass(frozen=True)
class PushConfig:
    """A URL to be told, and what it wants to see there: a token, an Authorization header of scheme and credentials."""

    id: str
    task_id: str
    url: str
    token: str = ""
    scheme: str = ""
    credentials: str = ""
    dialect: str = "1.0"


@dataclass(frozen=True)
class Told:
    """What a transaction appended to a task: the numbers of the events that are pushed, and whether it has ended."""

    task_id: str
    tenant_id: str
    seqs: Sequence[int]
    content_ends_at_us: int | None


class PushConfigs:
    def __init__(self, database: Database, vault: Vault, clock: Clock, outbox: Outbox, web: GuardedClient) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._outbox = outbox
        self._web = web
        self.woken = asyncio.Event()
        """Set when something was written that is to be sent"""

    def wake(self) -> None:
        self.woken.set()

    async def check(self, config: PushConfig) -> None:
        """Whether the URL may be told. Raises AddressRefused for one that leads inside, InvalidInput."""
        if any(len(value) > _LONGEST or not value.isprintable() for value in asdict(config).values()):
            said = f"has a value that is not printable text of at most {_LONGEST} characters"
            raise InvalidInput("pushNotificationConfig", said)
        if not f"{config.token}{config.scheme}{config.credentials}".isascii():
            said = "has a token, scheme or credentials that are not ASCII, which no header can carry"
            raise InvalidInput("pushNotificationConfig", said)
        parse_url(config.url)
        try:
            await self._web.check(config.url)
        except FetchFailed:
            pass  # a name that does not resolve now may later; each delivery looks again

    async def put(self, session: AsyncSession, tenant_id: str, config: PushConfig, ends_at_us: int | None) -> None:
        """In a transaction that has the task's lock. One of the same id is replaced. Raises PushRefused."""
        row = await session.get(PushConfigRow, (config.task_id, config.id))
        if row is None:
            mine = select(func.count()).select_from(PushConfigRow).where(PushConfigRow.task_id == config.task_id)
            if (await session.exec(mine)).one() >= _MOST_OF_A_TASK:
                raise PushRefused(f"a task has at most {_MOST_OF_A_TASK} push configurations; delete one")
            named = {"task_id": config.task_id, "id": config.id, "tenant_id": tenant_id}
            row = PushConfigRow(**named, host="", dialect="", created_at_us=0)
        row.host = parse_url(config.url).raw_host.decode("ascii")
        row.dialect = config.dialect
        row.created_at_us = self._clock.now_us()
        session.add(row)
        sealed = json.dumps(asdict(config)).encode()
        await self._vault.put(session, tenant_id, _ref(config.task_id, config.id), 0, sealed, ends_at_us)

    async def get(self, tenant_id: str, task_id: str, config_id: str) -> PushConfig:
        """Raises PushMissing."""
        found = await self._vault.read(tenant_id, _ref(task_id, config_id), 0)
        if found is None:
            raise PushMissing
        return PushConfig(**json.loads(found))

    async def of_task(self, tenant_id: str, task_id: str) -> list[PushConfig]:
        async with self._database.read() as session:
            mine = select(PushConfigRow.id).where(PushConfigRow.task_id == task_id).order_by(col(PushConfigRow.id))
            found = [
                await self._vault.get(session, tenant_id, _ref(task_id, config_id), 0)
                for config_id in (await session.exec(mine)).all()
            ]
        return [PushConfig(**json.loads(each)) for each in found if each is not None]

    async def delete(self, tenant_id: str, task_id: str, config_id: str) -> None:
        """What waits to be told is forgotten. Again: nothing."""
        async with self._database.write() as session:
            mine = (col(PushConfigRow.task_id) == task_id, col(PushConfigRow.id) == config_id)
            await session.exec(delete(PushConfigRow).where(*mine))
            await self._vault.delete(session, tenant_id, [(_ref(task_id, config_id), 0)])
            await self._outbox.drop(session, stream_of(task_id, config_id))

    async def announce(self, session: AsyncSession, told: Iterable[Told]) -> None:
        """Letters for what a transaction appends to tasks, in that transaction."""
        by_task: Mapping[str, Told] = {each.task_id: each for each in told}
        if not by_task:
            return
        theirs = select(PushConfigRow).where(col(PushConfigRow.task_id).in_(sorted(by_task)))
        letters: list[Letter] = []
        for row in (await session.exec(theirs)).all():
            event = by_task[row.task_id]
            stream = stream_of(row.task_id, row.id)
            letters += [Letter(row.tenant_id, stream, seq, row.task_id, row.host) for seq in event.seqs]
            if event.content_ends_at_us is not None:
                await self._vault.end(session, row.tenant_id, _ref(row.task_id, row.id), event.content_ends_at_us)
        await self._outbox.put(session, letters)


def stream_of(task_id: str, config_id: str) -> str:
    return f"{task_id}:{config_id}"


def _ref(task_id: str, config_id: str) -> str:
    return f"push:{task_id}:{config_id}"
