"""Looks a bundle's transactions up on the chain itself."""

from __future__ import annotations

from typing import Any

from agentnode.evidence.bundle import Bundle
from agentnode.evidence.checks import Check
from agentnode.evidence.transfers import raw_from_rpc, read_transfers
from trust.chain import ChainView


async def confirm(bundle: Bundle, rpc_url: str) -> list[Check]:
    """One check a transaction: mined with success, the same bytes, and the same transfers in its log.

    Raises ChainUnavailable where the chain does not answer: that proves nothing either way.
    """
    checks = []
    for line in bundle.of("transaction"):
        claim = "the chain has this transaction and these transfers"
        tx_hash = str(line.object.get("hash"))
        try:
            chain_id = int(str(line.object["network"]).removeprefix("eip155:"))
            told = read_transfers(line.object["receipt"]["logs"])
        except Exception as error:
            checks.append(Check(line.number, line.kind, claim, False, f"it cannot be read ({type(error).__name__})"))
            continue
        chain = ChainView(rpc_url, chain_id)
        sent, receipt = await chain.transaction(tx_hash), await chain.receipt(tx_hash)
        if sent is None or receipt is None:
            seen = f"the chain does not know {tx_hash}"
        elif not receipt.succeeded:
            seen = "it was mined and reverted"
        elif _raw(sent) != line.object["raw"]:
            seen = "the chain has other bytes under this hash"
        elif read_transfers(receipt.as_rpc()["logs"]) != told:
            seen = "the chain's log has other transfers"
        else:
            seen = ""
        checks.append(Check(line.number, line.kind, claim, not seen, seen))
    return checks


def _raw(sent: dict[str, Any]) -> str | None:
    """The bytes of what the chain has; None where it is of a type that nobody signs."""
    try:
        return raw_from_rpc(sent)
    except ValueError:
        return None
