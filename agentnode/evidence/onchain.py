"""Looks a bundle's transactions up on the chain itself, and asks it whose signature a claim has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agentnode.evidence.bundle import Bundle, Line
from agentnode.evidence.checks import Check, check
from agentnode.evidence.claims import key_signed, payer_and_digest
from agentnode.evidence.transfers import raw_from_rpc, read_transfers
from trust.chain import ChainView
from trust.networks import chain_id_of


async def confirm(bundle: Bundle, rpc_url: str) -> list[Check]:
    """One check a transaction: mined with success, the same bytes, and the same transfers in its log. One a claim:
    signed by the payer's key, or by what a contract takes for its owner's now.

    Raises ChainUnavailable where the chain does not answer: that proves nothing either way.
    """
    checks = [await _mined(line, rpc_url) for line in bundle.of("transaction")]
    return checks + [await _claimed(line, bundle, rpc_url) for line in bundle.of("claim")]


async def _mined(line: Line, rpc_url: str) -> Check:
    claim = "the chain has this transaction and these transfers"
    tx_hash = str(line.object.get("hash"))
    try:
        chain_id = chain_id_of(str(line.object["network"]))
        told = read_transfers(line.object["receipt"]["logs"])
    except Exception as error:
        return Check(line.number, line.kind, claim, False, f"it cannot be read ({type(error).__name__})")
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
    return Check(line.number, line.kind, claim, not seen, seen)


async def _claimed(line: Line, bundle: Bundle, rpc_url: str) -> Check:
    by_key = check(line, "its payer signed it", key_signed, line.object, bundle)
    if by_key.ok:
        return by_key
    try:
        payer, chain_id, digest = payer_and_digest(line.object, bundle)
        signature = bytes.fromhex(str(line.object["signature"]).removeprefix("0x"))
    except Exception:
        return by_key
    ok = await ChainView(rpc_url, chain_id).is_valid_signature(payer, digest, signature)
    return replace(
        by_key, ok=ok, seen="" if ok else f"neither the key {payer} nor a contract there takes it for its own"
    )


def _raw(sent: dict[str, Any]) -> str | None:
    """The bytes of what the chain has; None where it is of a type that nobody signs."""
    try:
        return raw_from_rpc(sent)
    except ValueError:
        return None
