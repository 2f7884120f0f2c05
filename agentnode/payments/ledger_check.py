"""Whether the ledger's movements, the journal's receipts and the chain tell of the same money."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import col, func, select

from agentnode.payments.settling.broadcaster import Broadcaster
from agentnode.payments.settling.proof import pays
from agentnode.payments.tables import PaymentIntent, PaymentReceipt, Refund, Settlement
from ledger.accounts import receipt_budget
from ledger.database import AsyncSession, Database
from ledger.money import Asset, usd_exact
from ledger.movements import Movement
from ledger.spend import BudgetRow, HoldRow
from trust.chain import MOST_BLOCKS_OF_LOGS, ChainView
from trust.chain_records import authorizations

_PURSES = ("credits", "funds", "receipt")
"""Kinds of budgets that are money."""


@dataclass(frozen=True)
class Check:
    """One claim about the books; `seen` tells what contradicts it, or what was looked at."""

    claim: str
    ok: bool
    seen: str


async def check_ledger(database: Database) -> list[Check]:
    """What the database says by itself, in one snapshot."""
    taken = BudgetRow.spent_usd_nanos + BudgetRow.held_usd_nanos
    receipted = (
        select(Settlement, PaymentIntent)
        .join(PaymentReceipt, col(PaymentReceipt.settlement_id) == col(Settlement.id))
        .join(PaymentIntent, col(PaymentIntent.id) == col(PaymentReceipt.payment_id))
    )
    async with database.read() as session:
        moved = (await session.exec(select(Movement))).all()
        passed = (await session.exec(select(BudgetRow.id).where(taken > BudgetRow.limit_usd_nanos))).all()
        budgets = (await session.exec(select(func.count()).select_from(BudgetRow))).one()
        received = (await session.exec(receipted)).all()
        refunds = (await session.exec(select(Refund))).all()
        purses = await _purses(session)
        held = dict((await session.exec(select(BudgetRow.id, BudgetRow.held_usd_nanos))).all())
        open_holds = (await session.exec(select(HoldRow).where(HoldRow.state == "held"))).all()
    accounts: dict[str, int] = {}
    for row in moved:
        accounts[row.from_account] = accounts.get(row.from_account, 0) - row.usd_nanos
        accounts[row.to_account] = accounts.get(row.to_account, 0) + row.usd_nanos
    total = sum(accounts.values())
    wrong = [purse for purse, usd_nanos in purses.items() if usd_nanos != accounts.get(purse, 0)]
    parts = Counter[str]()
    for hold in open_holds:
        parts.update(dict(zip(hold.budgets, hold.parts, strict=True)))
    astray = [budget_id for budget_id, units in held.items() if units != parts[budget_id]]
    settled = [row for row in moved if row.kind == "settlement"]
    paid = sum(row.usd_nanos for row in settled if row.from_account.startswith("wallet:"))
    paid -= sum(row.usd_nanos for row in settled if row.to_account.startswith("wallet:"))
    back = sum(row.usd_nanos for row in moved if row.kind == "refund" and row.to_account.startswith("wallet:"))
    owed = sum(row.amount_usd_nanos for row in refunds)
    # What bought nothing has no receipt, and is booked when it goes back.
    unbought = sum(row.amount_usd_nanos for row in refunds if row.receipt_id == row.payment_id)
    by_receipts = unbought + sum(_nanos(entry, intent) for entry, intent in received if entry.point == "confirmed")
    return [
        Check("all movements sum to zero", total == 0, f"{len(moved)} of {len(accounts)} accounts sum to {total}"),
        Check(
            "what came from payers is what the receipts say",
            paid == by_receipts,
            f"movements {usd_exact(paid)} USD, {len(received)} receipts {usd_exact(by_receipts)} USD",
        ),
        Check(
            "what went back to payers is what the refunds say",
            back == owed,
            f"movements {usd_exact(back)} USD, {len(refunds)} refunds {usd_exact(owed)} USD",
        ),
        Check("no budget is passed", not passed, f"{budgets} budgets" + _named(", passed", passed)),
        Check(
            "each purse has what came into it and did not leave",
            not wrong,
            f"{len(purses)} purses" + _named(", not so", wrong),
        ),
        Check(
            "each budget holds what its open holds say",
            not astray,
            f"{len(open_holds)} open holds" + _named(", not so", astray),
        ),
    ]


async def check_chain(
    database: Database, chain: ChainView, broadcaster: Broadcaster, asset: Asset, payee: str
) -> list[Check]:
    """Every confirmed settlement on the chain, and every authorised payment to this node in the journal."""
    async with database.read() as session:
        rows = (await session.exec(select(Settlement).where(Settlement.network == asset.network))).all()
    confirmed = [entry for entry in rows if entry.point == "confirmed"]
    missing = await _missing(confirmed, broadcaster)
    first = min((entry.planned_block for entry in rows), default=None)
    on_chain = await _paid_to(chain, asset, payee, first) if first is not None else {}
    known = {(entry.payer, entry.nonce) for entry in confirmed}
    unknown = [tx_hash for key, (_, tx_hash) in on_chain.items() if key not in known]
    ours = [entry for entry in confirmed if entry.payee == payee.lower() and entry.scheme == "exact"]
    journaled, seen = sum(int(entry.amount_atomic) for entry in ours), sum(amount for amount, _ in on_chain.values())
    return [
        Check(
            "each confirmed settlement is on the chain",
            not missing,
            f"{len(confirmed)} settlements" + _named(", not there", missing),
        ),
        Check(
            "each authorised payment to this node is in the journal",
            not unknown,
            f"{len(on_chain)} payments since block {first}" + _named(", unknown", unknown),
        ),
        Check("ledger equals chain", journaled == seen, f"{journaled} and {seen} atomic units of {asset.name}"),
    ]


async def _missing(confirmed: Sequence[Settlement], broadcaster: Broadcaster) -> list[str]:
    receipts = await broadcaster.receipts([entry.tx_hash for entry in confirmed])
    found = zip(confirmed, receipts, strict=True)
    return [entry.id for entry, receipt in found if receipt is None or not pays(receipt, entry)]


async def _paid_to(chain: ChainView, asset: Asset, payee: str, first: int) -> dict[tuple[str, str], tuple[int, str]]:
    """Amount and transaction of each authorised payment, by payer and nonce."""
    paid: dict[tuple[str, str], tuple[int, str]] = {}
    head = (await chain.head()).number
    for start in range(first, head + 1, MOST_BLOCKS_OF_LOGS):
        logs = await chain.transfers_to(asset.address, payee, start, min(start + MOST_BLOCKS_OF_LOGS - 1, head))
        for tx_hash in dict.fromkeys(log.tx_hash for log in logs):
            receipt = await chain.receipt(tx_hash)
            for end in authorizations(receipt, asset.address) if receipt is not None else ():
                assert receipt is not None
                made = receipt.authorized(asset.address, end.authorizer, end.nonce)
                if made is not None and made.payee == payee.lower():
                    paid[end.authorizer, end.nonce] = made.amount_atomic, tx_hash
    return paid


async def _purses(session: AsyncSession) -> dict[str, int]:
    """What each has; not those of receipts whose block was undone, in which what stays is worth nothing."""
    receipts = select(PaymentReceipt.id).join(Settlement, col(Settlement.id) == col(PaymentReceipt.settlement_id))
    void = [receipt_budget(each).id for each in await session.exec(receipts.where(Settlement.point != "confirmed"))]
    money = select(BudgetRow).where(col(BudgetRow.kind).in_(_PURSES), col(BudgetRow.id).not_in(void))
    return {purse.id: purse.limit_usd_nanos - purse.spent_usd_nanos for purse in await session.exec(money)}


def _nanos(entry: Settlement, intent: PaymentIntent) -> int:
    return Asset(**intent.asset).nanos_from_atomic(int(entry.amount_atomic))


def _named(what: str, ids: Sequence[str]) -> str:
    return f"{what}: {', '.join(ids[:5])}" if ids else ""
