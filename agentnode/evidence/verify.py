"""Checks a bundle from its bytes alone: hashes, signatures, the raw transaction, and amounts against the log.

Needs no node, no database and no network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from agentnode.evidence.bundle import BUNDLE_TYP, Bundle, Line, digest
from agentnode.evidence.transfers import SignedCall, Transfer, read_transaction, read_transfers
from ledger.errors import AgentNodeError
from trust.signatures import didkey, eip712, jws

RECEIPT_TYP = "x402-receipt+jwt"
MANDATE_TOKEN_TYP = "mandate-use+jwt"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: where, what, and whether it held."""

    line: int
    kind: str
    claim: str
    ok: bool
    seen: str = ""


class Broken(Exception):
    """A claim of the bundle does not hold; the message says what was seen."""


def verify(bundle: Bundle) -> list[Check]:
    """Every check, failed ones included: a reader wants to know all that is wrong, not the first."""
    return [*_form(bundle), *_purchases(bundle), *_mandates(bundle)]


def _form(bundle: Bundle) -> Iterator[Check]:
    manifest = bundle.manifest.object
    listed = manifest.get("lines") if isinstance(manifest.get("lines"), list) else []
    assert isinstance(listed, list)
    yield _check(bundle.manifest, "it is a manifest that lists every line", _lists, manifest, listed, bundle)
    for line, entry in zip(bundle.lines, listed, strict=False):
        named = entry if isinstance(entry, dict) else {}
        kind = str(named.get("kind", line.kind))
        ok = digest(line) == named.get("sha256") and line.kind == kind
        yield Check(line.number, kind, "its hash is the one in the manifest", ok, "" if ok else "the line was changed")
    yield _check(bundle.signature, "the node signed this manifest", _sealed, bundle, manifest)


def _lists(manifest: dict[str, Any], listed: list[Any], bundle: Bundle) -> None:
    _equal("kind", manifest.get("kind"), "manifest")
    _equal("version", manifest.get("version"), 1)
    _equal("count", manifest.get("count"), len(bundle.lines))
    _equal("lines", len(listed), len(bundle.lines))


def _sealed(bundle: Bundle, manifest: dict[str, Any]) -> None:
    _equal("kind", bundle.signature.kind, "signature")
    node = str(manifest.get("node"))
    claims = jws.verify(str(bundle.signature.object.get("jws")), did=node, typ=BUNDLE_TYP)
    _equal("manifest_sha256", claims.get("manifest_sha256"), digest(bundle.manifest))


def _purchases(bundle: Bundle) -> Iterator[Check]:
    """Requirement, transaction, log, receipt and events of each payment tell one story."""
    for line in bundle.of("transaction"):
        yield _check(line, "it has this hash and calls transferWithAuthorization", _hash, line.object)
        yield _check(line, "its log has the very Transfer that the payer signed", _logged, line.object)
    for line in bundle.of("payment"):
        yield _check(line, "the amount asked is what was transferred, to the payee asked", _paid, line.object, bundle)
    for line in bundle.of("receipt"):
        yield _check(line, "the seller signed it, for this transaction and amount", _receipt, line.object, bundle)
    for line in bundle.of("event"):
        yield _check(line, "the ledger's event has the amount of the payment", _event, line.object, bundle)


def _hash(entry: dict[str, Any]) -> None:
    call = read_transaction(str(entry.get("raw")))
    _equal("hash", entry.get("hash"), call.tx_hash)
    _equal("network", entry.get("network"), f"eip155:{call.chain_id}")


def _logged(entry: dict[str, Any]) -> None:
    call = read_transaction(str(entry.get("raw")))
    receipt = entry.get("receipt")
    if not isinstance(receipt, dict):
        raise Broken("there is no receipt")
    _equal("receipt.transactionHash", receipt.get("transactionHash"), call.tx_hash)
    _equal("receipt.status", receipt.get("status"), "0x1")
    if call.transfer not in read_transfers(receipt.get("logs") or []):
        raise Broken(f"no Transfer of {call.transfer.amount_atomic} from {call.transfer.sender} in the log")


def _paid(payment: dict[str, Any], bundle: Bundle) -> None:
    call = next((call for call in _calls(bundle) if call.tx_hash == payment["tx_hash"]), None)
    if call is None:
        raise Broken("its transaction is not in the bundle")
    agreed = Transfer(payment["asset"], payment["payer"], payment["payee"], int(payment["amount_atomic"]))
    _equal("the transfer agreed", agreed, call.transfer)
    _equal("network", payment["network"], f"eip155:{call.chain_id}")
    worth = int(payment["amount_atomic"]) * int(payment["usd_nanos_per_token"]) // 10 ** int(payment["decimals"])
    _equal("price_usd_nanos", int(payment["price_usd_nanos"]), worth)


def _receipt(entry: dict[str, Any], bundle: Bundle) -> None:
    token = str(entry.get("jws"))
    claims = jws.verify(token, did=str(entry.get("issuer")), typ=RECEIPT_TYP)
    calls = [call for call in _calls(bundle) if call.tx_hash == claims.get("transaction")]
    if not calls:
        raise Broken("its transaction is not in the bundle")
    told = Transfer(
        str(claims["asset"]).lower(),
        str(claims["payer"]).lower(),
        str(claims["payee"]).lower(),
        int(claims["amount"]),
    )
    _equal("transfer", told, calls[0].transfer)
    _equal("iss", claims.get("iss"), entry.get("issuer"))


def _event(entry: dict[str, Any], bundle: Bundle) -> None:
    event = entry["event"]
    payments = {str(line.object.get("payment_id")): line.object for line in bundle.of("payment")}
    payment = payments.get(str(event["payment_id"]))
    if payment is None:
        raise Broken("its payment is not in the bundle")
    price = int(payment["price_usd_nanos"])
    side = "cost_usd_nanos" if event["kind"] == "hire" else "revenue_usd_nanos"
    _equal(side, int(event[side]), price)


def _mandates(bundle: Bundle) -> Iterator[Check]:
    for line in bundle.of("mandate"):
        yield _check(line, "its grantor signed exactly these limits", _granted, line.object)
    for line in bundle.of("mandate_use"):
        yield _check(line, "the authority allowed it, within the mandate", _within, line.object, bundle)


def _granted(entry: dict[str, Any]) -> None:
    typed = _rebuilt(entry)
    _equal("digest", entry.get("digest"), "0x" + eip712.digest(typed).hex())
    signer = eip712.recover(typed, str(entry["signature"])).lower()
    _equal("grantor", str(typed["message"]["grantor"]).rsplit(":", 1)[-1], signer)


def _within(entry: dict[str, Any], bundle: Bundle) -> None:
    mandates = [line.object for line in bundle.of("mandate")]
    mandate = next((m for m in mandates if m.get("mandate_id") == entry.get("mandate_id")), None)
    if mandate is None:
        raise Broken("its mandate is not in the bundle")
    message = mandate["typed_data"]["message"]
    claims = jws.verify(str(entry["token"]), did=str(message["authority"]), typ=MANDATE_TOKEN_TYP)
    allowed, used = int(claims["amount_usd_nanos"]), int(entry["amount_usd_nanos"])
    _equal("mandate", claims["mandate"], entry["mandate_id"])
    _equal("mandate_digest", claims["mandate_digest"], mandate["digest"])
    _equal("use", claims["use"], entry["use_id"])
    if used > allowed or allowed > int(message["maxAmountUsdNanos"]):
        raise Broken(f"{used} nanos were used, {allowed} allowed, {message['maxAmountUsdNanos']} granted")
    if message["payees"] and claims["payee"] not in message["payees"]:
        raise Broken(f"the payee {claims['payee']} is not among those granted")
    paid = [int(line.object["price_usd_nanos"]) for line in bundle.of("payment")]
    if used not in paid:
        raise Broken(f"{used} nanos were used, and no payment in the bundle is of that amount")


def _rebuilt(entry: dict[str, Any]) -> eip712.TypedData:
    """The typed data made anew from its message: encoders differ on anything that we would not make ourselves."""
    given = entry["typed_data"]
    message = given["message"]
    typed = eip712.mandate_typed_data(
        eip712.MandateMessage(
            kind=message["kind"],
            grantor=message["grantor"],
            agent=message["agent"],
            max_amount_usd_nanos=int(message["maxAmountUsdNanos"]),
            categories=message["categories"],
            payees=message["payees"],
            valid_from_s=int(message["validFrom"]),
            valid_until_s=int(message["validUntil"]),
            nonce=bytes.fromhex(message["nonce"].removeprefix("0x")),
            constraints_hash=bytes.fromhex(message["constraintsHash"].removeprefix("0x")),
            parent=bytes.fromhex(message["parent"].removeprefix("0x")),
        ),
        int(given["domain"]["chainId"]),
        message["authority"],
    )
    _equal("typed_data", typed, given)
    return typed


def _calls(bundle: Bundle) -> list[SignedCall]:
    """The transactions that can be read; a damaged one is reported by its own check."""
    calls = []
    for line in bundle.of("transaction"):
        with contextlib.suppress(Exception):
            calls.append(read_transaction(str(line.object.get("raw"))))
    return calls


def _equal(name: str, said: object, found: object) -> None:
    if said != found:
        raise Broken(f"{name} says {said}, and it is {found}")


def _check(line: Line, claim: str, hold: Callable[..., None], *facts: Any) -> Check:
    """Runs one check. What a stranger's bundle can make it raise is a failed check, never a crash."""
    try:
        hold(*facts)
    except (Broken, AgentNodeError) as error:
        return Check(line.number, line.kind, claim, False, str(error))
    except Exception as error:
        return Check(line.number, line.kind, claim, False, f"it cannot be read ({type(error).__name__})")
    return Check(line.number, line.kind, claim, True)


def signer_of(bundle: Bundle) -> str:
    """The did:key that sealed the bundle, where it is one."""
    node = str(bundle.manifest.object.get("node"))
    didkey.decode(node)
    return node
