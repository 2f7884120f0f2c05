"""Looks a bundle's transactions up on the chain itself."""

from __future__ import annotations

from agentnode.evidence.bundle import Bundle
from agentnode.evidence.transfers import raw_from_rpc, read_transaction, read_transfers
from agentnode.evidence.verify import Check
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
            call = read_transaction(str(line.object.get("raw")))
            logs = line.object["receipt"]["logs"]
            told = read_transfers(logs)
        except Exception as error:
            checks.append(Check(line.number, line.kind, claim, False, f"it cannot be read ({type(error).__name__})"))
            continue
        chain = ChainView(rpc_url, call.chain_id)
        sent, receipt = await chain.transaction(tx_hash), await chain.receipt(tx_hash)
        if sent is None or receipt is None:
            seen = f"the chain does not know {tx_hash}"
        elif not receipt.succeeded:
            seen = "it was mined and reverted"
        elif raw_from_rpc(sent) != line.object["raw"]:
            seen = "the chain has other bytes under this hash"
        elif read_transfers(receipt.as_rpc()["logs"]) != told:
            seen = "the chain's log has other transfers"
        else:
            seen = ""
        checks.append(Check(line.number, line.kind, claim, not seen, seen))
    return checks
