"""Payments by the scheme `onchain`: what the payer sent itself is in the log, and the payer signed what it is for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agentnode.evidence.bundle import Bundle, Line
from agentnode.evidence.checks import Broken, Check, check, equal
from agentnode.evidence.transfers import Transfer, read_sent
from trust.chain_records import direct_transfers, read_receipt
from trust.errors import SignatureInvalid
from trust.networks import chain_id_of
from trust.signatures import eip712, secp256k1

_TRANSFER = bytes.fromhex("a9059cbb")
_ASK = "--rpc URL asks its chain, which alone can tell"


@dataclass(frozen=True)
class OwnTransfer:
    """All that `transfer.sender` moved to the payee in one transaction, as its log has it.

    `called`: the sender's key signed a transaction that calls for just that. Else a contract moved it, and only the
    chain can tell that the log is true.
    """

    tx_hash: str
    chain_id: int | None
    transfer: Transfer
    called: bool

    valid_before_s = 2**62

    @property
    def nonce(self) -> str:
        return self.tx_hash


def own_payments(bundle: Bundle) -> dict[str, dict[str, Any]]:
    """The payments of this scheme, by their transactions' hashes."""
    payments = [line.object for line in bundle.of("payment") if line.object.get("scheme") == "onchain"]
    return {str(payment.get("tx_hash")): payment for payment in payments}


def read_own(entry: dict[str, Any], payment: dict[str, Any]) -> OwnTransfer:
    """The payment's transfer in a `transaction` line. Raises Broken where its log has none of that payer's own."""
    sent, receipt = read_sent(str(entry.get("raw"))), read_receipt(entry["receipt"])
    token, payer, payee = (str(payment[name]) for name in ("asset", "payer", "payee"))
    equal("receipt.transactionHash", receipt.tx_hash, sent.tx_hash)
    amount_atomic = direct_transfers(receipt, token, payee).get(payer)
    if amount_atomic is None:
        raise Broken(f"no transfer of its own from {payer} to {payee} is in the log")
    call = _TRANSFER + bytes.fromhex(payee[2:]).rjust(32, b"\0") + amount_atomic.to_bytes(32)
    called = (sent.sender, sent.to, sent.data[: len(call)]) == (payer, token, call)
    return OwnTransfer(sent.tx_hash, sent.chain_id, Transfer(token, payer, payee, amount_atomic), called)


def check_sender(line: Line, own: OwnTransfer, chain_asked: bool) -> Check:
    claim = "the payer's key signed the transaction, which calls for this very transfer"
    if own.called:
        return Check(line.number, line.kind, claim, True)
    claim = "a contract moved the payer's money, as the chain's log says"
    return Check(line.number, line.kind, claim, chain_asked, "" if chain_asked else _ASK)


def check_claims(bundle: Bundle, chain_asked: bool) -> Iterator[Check]:
    for line in bundle.of("payment"):
        if line.object.get("scheme") == "onchain":
            yield check(line, "its payer's claim says that the transaction is for it", _has_claim, line.object, bundle)
    for line in bundle.of("claim"):
        if not chain_asked:
            yield check(line, "its payer's key signed it", key_signed, line.object, bundle)


def payer_and_digest(entry: dict[str, Any], bundle: Bundle) -> tuple[str, int, bytes]:
    """Who has to have signed a claim, on which chain, and what. Raises Broken where its payment is not here."""
    payment = own_payments(bundle).get(str(entry.get("tx_hash")))
    if payment is None:
        raise Broken("its payment is not in the bundle")
    chain_id = chain_id_of(str(payment["network"]))
    message = eip712.ClaimMessage(entry["payment_id"], bytes.fromhex(payment["tx_hash"].removeprefix("0x")))
    digest = eip712.digest(eip712.claim_typed_data(message, chain_id, entry["authority"]))
    return str(payment["payer"]), chain_id, digest


def _has_claim(payment: dict[str, Any], bundle: Bundle) -> None:
    claims = [line.object for line in bundle.of("claim")]
    named = [claim.get("payment_id") for claim in claims if claim.get("tx_hash") == payment["tx_hash"]]
    equal("the payments that it is claimed for", named, [payment["payment_id"]])


def key_signed(entry: dict[str, Any], bundle: Bundle) -> None:
    """Raises Broken where it was not the payer's key that signed a claim."""
    payer, _, digest = payer_and_digest(entry, bundle)
    try:
        signer = secp256k1.recover(digest, str(entry["signature"])).lower()
    except SignatureInvalid:
        signer = ""
    if signer != payer:
        raise Broken(f"{signer or 'no key'} signed it, and the payer is {payer}; if that is a contract: {_ASK}")
