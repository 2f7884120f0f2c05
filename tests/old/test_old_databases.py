"""What an earlier version wrote, this one opens: its tables are brought up to date and its content can be read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sqlmodel import func, select

from agentnode.hire.tables import HireCall
from agentnode.migrations import LOCATIONS
from agentnode.payments.tables import PaymentReceipt, Settlement
from ledger.accounts.tables import SessionRow
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.events import EconomicEvent
from ledger.spend.tables import BudgetRow
from ledger.vault import Vault, VaultItemRow
from mandates.tables import MandateUseRow
from trust.keys import NodeKeys

HERE = Path(__file__).parent
FOLDERS = sorted(folder.parent for folder in HERE.glob("*/*/agentnode.db"))
PASSWORD = "old"


@pytest.fixture(params=FOLDERS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    copied = Path(shutil.copytree(request.param, tmp_path / request.param.parent.name / request.param.name))
    for file in (copied / "keys").iterdir():
        file.chmod(0o600)  # which git does not keep, and the node insists on
    return copied


async def test_a_database_of_an_earlier_version_is_upgraded_and_read(folder: Path) -> None:
    """Its budgets balance, its payments and uses are there, and its vault opens with its keys."""
    database = Database(f"sqlite:///{folder / 'agentnode.db'}")
    await database.upgrade(LOCATIONS)
    async with database.read() as session:
        budgets = (await session.exec(select(BudgetRow))).all()
        assert all(row.held_usd_nanos == 0 for row in budgets)
        events = (await session.exec(select(func.count()).select_from(EconomicEvent))).one()
        assert events >= 1
        if folder.name == "seller":
            assert [row.point for row in (await session.exec(select(Settlement))).all()] == ["confirmed"]
            assert len((await session.exec(select(PaymentReceipt))).all()) == 1
            item = (await session.exec(select(VaultItemRow))).first()
            assert item is not None
            vault = Vault(database, SystemClock(), NodeKeys.open(folder / "keys", PASSWORD))
            item.ends_at_us = None  # kept a day: this test is older
            assert await vault.get(session, item.tenant_id, item.ref, item.seq)
            if folder.parent.name != "0.1.0":
                assert [row.agent_identifier for row in (await session.exec(select(SessionRow))).all()] == ["old"]
                kinds = (await session.exec(select(EconomicEvent.kind))).all()
                assert {"engine_call", "cache_hit"} <= set(kinds)
                credits = await session.get(BudgetRow, "test-credits:default")
                assert credits is not None and 0 < credits.spent_usd_nanos < credits.limit_usd_nanos
        else:
            assert [row.point for row in (await session.exec(select(HireCall))).all()] == ["paid"]
            assert [row.state for row in (await session.exec(select(MandateUseRow))).all()] == ["captured"]
    await database.close()
