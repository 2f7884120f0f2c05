"""Payment, transaction, log, receipt and event of each purchase in a bundle tell one story."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from agentnode.evidence.bundle import Bundle, Line
from agentnode.evidence.checks import Broken, Check, check, equal
from agentnode.evidence.claims import OwnTransfer, check_sender, own_payments, read_own
from agentnode.evidence.transfers import (
    Sent,
    SignedCall,
    Transfer,
    payer_who_signed,
    read_sent,
    read_transaction,
    read_transfers,
)
from ledger.errors import AgentNodeError
from trust.signatures import didkey, jws

RECEIPT_TYP = "x402-receipt+jwt"

_NONCE = re.compile(r"0x[0-9a-f]{64}", re.ASCII | re.IGNORECASE)

Calls = dict[str, SignedCall | OwnTransfer]


def check_purchases(bundle: Bundle, calls: Calls, chain_asked: bool) -> Iterator[Check]:
    yield check(bundle.manifest, "it has a payment with its transaction and its event", _proves_one, bundle, calls)
    own = own_payments(bundle)
    for line in bundle.of("transaction"):
        if payment := own.get(str(line.object.get("hash"))):
            yield check(line, "it has this hash", _own_hash, line.object)
            yield check(line, "the log in its receipt has the payer's own Transfer", read_own, line.object, payment)
            continue
        yield check(line, "it has this hash and calls transferWithAuthorization", _hash, line.object)
        yield check(line, "the log in its receipt has the very Transfer that it calls for", _logged, line.object)
    for line in bundle.of("payment"):
        paid = line.object, bundle, calls
        yield check(line, "the amount asked is what was transferred, to the payee asked", _paid, *paid)
        yield _signed(line, calls, chain_asked)
    for line in bundle.of("receipt"):
        claim = f"{_issuer(line)} signed it, for this transaction and amount, payment and task"
        yield check(line, claim, _receipt, line.object, bundle, calls)
    for line in bundle.of("event"):
        yield check(line, "the ledger's event has the amount of the payment", _event, line.object, bundle)
        yield check(line, "the mandate's use and the receipt that it names are here", _complete, line.object, bundle)


def calls_in(bundle: Bundle) -> Calls:
    """The transactions that can be read, by hash; a damaged one is reported by its own check."""
    own, calls = own_payments(bundle), list[SignedCall | OwnTransfer]()
    for line in bundle.of("transaction"):
        with contextlib.suppress(Exception):
            payment = own.get(str(line.object.get("hash")))
            calls.append(read_own(line.object, payment) if payment else read_transaction(str(line.object.get("raw"))))
    return {call.tx_hash: call for call in calls}


def payment_of(event: dict[str, Any], bundle: Bundle) -> dict[str, Any]:
    """The payment that an event names. Raises Broken where it is not in the bundle."""
    named = [p.object for p in bundle.of("payment") if p.object.get("payment_id") == event["payment_id"]]
    if not named:
        raise Broken("its payment is not in the bundle")
    return named[0]


def events_in(bundle: Bundle) -> list[dict[str, Any]]:
    events = [line.object.get("event") for line in bundle.of("event")]
    return [event for event in events if isinstance(event, dict)]


def _proves_one(bundle: Bundle, calls: Calls) -> None:
    booked = {event.get("payment_id") for event in events_in(bundle)}
    payments = [line.object for line in bundle.of("payment")]
    if not any(payment.get("tx_hash") in calls and payment.get("payment_id") in booked for payment in payments):
        raise Broken(f"of {len(payments)} payments in the bundle none has both: it proves no purchase")


def _hash(entry: dict[str, Any]) -> None:
    call = read_transaction(str(entry.get("raw")))
    equal("hash", entry.get("hash"), call.tx_hash)
    _on_network(entry.get("network"), call)


def _own_hash(entry: dict[str, Any]) -> None:
    sent = read_sent(str(entry.get("raw")))
    equal("hash", entry.get("hash"), sent.tx_hash)
    _on_network(entry.get("network"), sent)


def _logged(entry: dict[str, Any]) -> None:
    call = read_transaction(str(entry.get("raw")))
    receipt = entry.get("receipt")
    if not isinstance(receipt, dict):
        raise Broken("there is no receipt")
    equal("receipt.transactionHash", receipt.get("transactionHash"), call.tx_hash)
    equal("receipt.status", receipt.get("status"), "0x1")
    if call.transfer not in read_transfers(receipt.get("logs") or []):
        raise Broken(f"no Transfer of {call.transfer.amount_atomic} from {call.transfer.sender} in the log")


def _paid(payment: dict[str, Any], bundle: Bundle, calls: Calls) -> None:
    call = _call_of(payment["tx_hash"], calls)
    agreed = Transfer(payment["asset"], payment["payer"], payment["payee"], int(payment["amount_atomic"]))
    equal("the transfer agreed", agreed, call.transfer)
    _on_network(payment["network"], call)
    worth = int(payment["amount_atomic"]) * int(payment["usd_nanos_per_token"]) // 10 ** int(payment["decimals"])
    if isinstance(call, OwnTransfer) and worth > int(payment["price_usd_nanos"]):
        worth = int(payment["price_usd_nanos"])  # what is over is in the receipt's purse
    equal("price_usd_nanos", int(payment["price_usd_nanos"]), worth)
    if _NONCE.fullmatch(payment["payment_id"]):
        equal("payment_id", payment["payment_id"].lower(), call.nonce)
    for name in ("tx_hash", "payment_id"):
        if len([p for p in bundle.of("payment") if p.object.get(name) == payment[name]]) > 1:
            raise Broken(f"another payment in the bundle has its {name}")


def _signed(line: Line, calls: Calls, chain_asked: bool) -> Check:
    """A key's signature is checked here; what a contract takes for its owner's, only its chain can tell."""
    call = calls.get(str(line.object.get("tx_hash")))
    if isinstance(call, OwnTransfer):
        return check_sender(line, call, chain_asked)
    if call is not None and len(call.signature) != 65:
        claim = "the payer is a contract, whose signature can only be confirmed on the chain"
        return Check(line.number, line.kind, claim, chain_asked, "" if chain_asked else "--rpc URL asks it")
    return check(line, "the payer signed this very transfer", _payer_signed, line.object, calls)


def _payer_signed(payment: dict[str, Any], calls: Calls) -> None:
    call = _call_of(payment["tx_hash"], calls)
    assert isinstance(call, SignedCall), "another transfer is looked at otherwise"
    network, chain_id = str(payment["network"]).split(":")
    equal("network", network, "eip155")
    signer = payer_who_signed(call, payment["name"], payment["version"], int(chain_id))
    equal("payer", call.transfer.sender, signer)


def _issuer(line: Line) -> str:
    """The DID that a receipt says it is of, where it is one: anything else is a stranger's text in our mouth."""
    issuer = str(line.object.get("issuer"))
    try:
        didkey.decode(issuer)
    except AgentNodeError:
        return "its issuer"
    return issuer


def _receipt(entry: dict[str, Any], bundle: Bundle, calls: Calls) -> None:
    claims = jws.verify(str(entry.get("jws")), did=str(entry.get("issuer")), typ=RECEIPT_TYP)
    equal("iss", claims.get("iss"), entry.get("issuer"))
    call = _call_of(claims.get("transaction"), calls)
    told = Transfer(
        str(claims["asset"]).lower(),
        str(claims["payer"]).lower(),
        str(claims["payee"]).lower(),
        int(claims["amount"]),
    )
    equal("transfer", told, call.transfer)
    _on_network(claims["network"], call)
    for payment in (line.object for line in bundle.of("payment")):
        if payment.get("tx_hash") == call.tx_hash:
            _same_purchase(claims, payment, bundle)


def _same_purchase(claims: dict[str, Any], payment: dict[str, Any], bundle: Bundle) -> None:
    equal("network", claims["network"], payment["network"])
    asked, paid = str(claims["payment_id"]), str(payment["payment_id"])
    # A buyer names a payment by the transfer's nonce, and the seller's receipt by the seller's own id.
    if _NONCE.fullmatch(asked) or not _NONCE.fullmatch(paid):
        equal("payment_id", asked, paid)
    for event in events_in(bundle):
        if event.get("payment_id") == paid and event.get("task_id") is not None:
            equal("task_id", claims["task_id"], event["task_id"])


def _event(entry: dict[str, Any], bundle: Bundle) -> None:
    event = entry["event"]
    price = int(payment_of(event, bundle)["price_usd_nanos"])
    side = "cost_usd_nanos" if event["kind"] == "hire" else "revenue_usd_nanos"
    equal(side, int(event[side]), price)


def _complete(entry: dict[str, Any], bundle: Bundle) -> None:
    """Lines can be left out and the rest sealed anew: what an event names must be here."""
    event = entry["event"]
    use = event.get("mandate_id"), event.get("mandate_use_id")
    uses = [(line.object.get("mandate_id"), line.object.get("use_id")) for line in bundle.of("mandate_use")]
    if use != (None, None) and use not in uses:
        raise Broken(f"use {use[1]} of mandate {use[0]} is not in the bundle")
    receipt_id = event.get("receipt_id")
    if receipt_id is not None and receipt_id not in [_receipt_id(line.object) for line in bundle.of("receipt")]:
        raise Broken(f"receipt {receipt_id} is not in the bundle")


def _receipt_id(entry: dict[str, Any]) -> Any:
    try:
        return jws.verify(str(entry.get("jws")), did=str(entry.get("issuer")), typ=RECEIPT_TYP).get("jti")
    except AgentNodeError:
        return None


def _call_of(tx_hash: object, calls: Calls) -> SignedCall | OwnTransfer:
    call = calls.get(str(tx_hash))
    if call is None:
        raise Broken("its transaction is not in the bundle, or cannot be read offline")
    return call


def _on_network(network: object, call: SignedCall | OwnTransfer | Sent) -> None:
    # The oldest form of a transaction names no chain; the payer's signature does.
    if call.chain_id is not None:
        equal("network", network, f"eip155:{call.chain_id}")
