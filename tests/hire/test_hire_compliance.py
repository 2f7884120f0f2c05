"""Whom the operator may not deal with is not paid by the node's own buyer either, and what cannot be asked is no."""

from __future__ import annotations

from pathlib import Path

import pytest
from hire_world import PAYEE, SellerProcess, Wallet, buyer_node
from test_hire import day, work

from agentnode.payments.compliance import BlockedAddresses
from agentnode.payments.errors import ComplianceBlocked, ComplianceUnchecked
from ledger.database import Database
from ledger.money import Asset


async def test_a_listed_payee_or_wallet_is_refused_before_anything_is_signed(
    database: Database, tmp_path: Path, chain_url: str, asset: Asset, seller: SellerProcess, wallet: Wallet
) -> None:
    """Nothing leaves and nothing is held; taken off the list, without a restart, the same hire is paid."""
    listed, sent = tmp_path / "blocked.txt", len(seller.payloads())
    async with buyer_node(database, chain_url, asset, wallet, compliance=BlockedAddresses(listed)) as node:
        for address in (PAYEE, wallet.address):
            listed.write_text(f"{address}\n")
            with pytest.raises(ComplianceBlocked):
                await node.buyer.hire("t", work(seller, "ask"))
        listed.unlink()
        with pytest.raises(ComplianceUnchecked):
            await node.buyer.hire("t", work(seller, "ask"))
        assert (len(seller.payloads()), await day(node)) == (sent, (0, 0))
        listed.write_text("# nobody\n")
        assert (await node.buyer.hire("t", work(seller, "ask")))["payment"]["status"] == "settled"
