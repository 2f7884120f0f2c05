"""What is false in a bundle fails, whoever sealed it: each test changes one thing of an honest one."""

from __future__ import annotations

from pathlib import Path

import pytest
from eth_account import Account
from made_up import HONEST, NONCE, NOW_S, OTHER_NONCE, PAYEE, PAYER, STRANGER, Purchase, call_data

from agentnode.evidence.bundle import read
from agentnode.evidence.verify import verify


@pytest.mark.parametrize("path", HONEST, ids=lambda path: path.stem)
def test_a_real_hires_bundle_holds(path: Path) -> None:
    """The bundles that a buyer and a seller gave of one hire."""
    assert [check for check in verify(read(path.read_bytes())) if not check.ok] == []


def test_a_made_up_bundle_holds_until_something_in_it_is_false() -> None:
    """The control of this file."""
    assert Purchase().failing() == {}


def test_a_payment_that_its_payer_never_signed_does_not_hold() -> None:
    """Logs can be invented; the payer's signature in the call cannot."""
    failing = Purchase(call_data(signer=Account.create())).failing()
    assert set(failing) == {"payment"}
    assert PAYER.address.lower() in failing["payment"]


def test_a_payment_for_a_token_of_another_name_does_not_hold() -> None:
    """The signature is over the token's own domain."""
    purchase = Purchase()
    purchase.payment["version"] = "1"
    assert set(purchase.failing()) == {"payment"}


def test_a_contracts_signature_holds_only_where_the_chain_is_asked() -> None:
    """Nobody can check it offline, so that a forger could claim to be a contract."""
    purchase = Purchase(call_data(signature=b"\1" * 97))
    assert set(purchase.failing()) == {"payment"}
    assert purchase.failing(chain_asked=True) == {}


@pytest.mark.parametrize("claim", [{"task_id": "task_2"}, {"network": "eip155:1"}, {"payment_id": OTHER_NONCE}])
def test_a_receipt_of_another_task_network_or_payment_does_not_hold(claim: dict[str, str]) -> None:
    """The receipt is for the purchase that the other lines tell of."""
    purchase = Purchase()
    purchase.receipt = purchase.receipt_with(**claim)
    assert set(purchase.failing()) == {"receipt"}


def test_a_receipt_of_another_payment_of_the_seller_does_not_hold() -> None:
    """A seller's payment has the seller's own id, and its receipt the same."""
    purchase = Purchase()
    purchase.payment["payment_id"] = "pay_2"
    purchase.event = purchase.event_with(payment_id="pay_2")
    assert set(purchase.failing()) == {"receipt"}


def test_a_receipts_check_names_who_signed_it() -> None:
    """Any DID can sign a receipt, so the check does not call it the seller's."""
    purchase = Purchase()
    claims = [check.claim for check in verify(purchase.bundle()) if check.kind == "receipt"]
    assert any(claim.startswith(f"{purchase.keys.did} signed it") for claim in claims)


def test_two_payments_by_one_transaction_do_not_hold() -> None:
    """A transfer pays once."""
    purchase = Purchase()
    second = {**purchase.payment, "payment_id": "pay_2"}
    assert "tx_hash" in purchase.failing([*purchase.lines, second])["payment"]


def test_a_payment_named_by_another_nonce_than_its_transfers_does_not_hold() -> None:
    """A buyer names the payment by the nonce, and the call in the transaction has it."""
    purchase = Purchase()
    purchase.payment["payment_id"] = OTHER_NONCE
    purchase.event = purchase.event_with(payment_id=OTHER_NONCE)
    assert NONCE in purchase.failing()["payment"]


@pytest.mark.parametrize("payee", [STRANGER, f"did:pkh:eip155:8453:{STRANGER}"])
def test_a_use_for_one_payee_does_not_cover_a_payment_to_another(payee: str) -> None:
    """The mandate and its token allow one payee; the money went to another."""
    purchase = Purchase(payees=(payee,))
    purchase.mandate_use = purchase.use(payee=payee)
    assert set(purchase.failing()) == {"mandate_use"}


def test_a_use_for_a_payee_without_an_address_covers_the_payment() -> None:
    """A listing's id cannot be compared with an address."""
    purchase = Purchase(payees=("baz_1",))
    purchase.mandate_use = purchase.use(payee="baz_1")
    assert purchase.failing() == {}


def test_a_mandate_to_one_agent_does_not_cover_a_payment_by_another() -> None:
    """The payer is the agent whom the mandate was granted to."""
    purchase = Purchase()
    purchase.of_agent(STRANGER)
    assert set(purchase.failing()) == {"mandate_use"}


def test_a_mandate_that_had_ended_does_not_cover_a_payment() -> None:
    """By more than the time that a signature, once given, can still be taken."""
    purchase = Purchase(until_s=NOW_S - 121)
    assert "the mandate ended" in purchase.failing()["mandate_use"]
    assert Purchase(until_s=NOW_S - 120).failing() == {}


def test_a_token_that_had_ended_does_not_cover_a_payment() -> None:
    """As with the mandate."""
    purchase = Purchase()
    purchase.mandate_use = purchase.use(exp=NOW_S - 121)
    assert "the token ended" in purchase.failing()["mandate_use"]


def test_a_mandate_that_had_not_begun_does_not_cover_a_payment() -> None:
    """What was booked before valid_from was not allowed."""
    purchase = Purchase()
    purchase.event = purchase.event_with(at_us=999_000_000)
    assert "begins at 1000" in purchase.failing()["mandate_use"]


def test_a_payment_in_time_that_was_booked_after_a_crash_holds() -> None:
    """The transfer's own end says that it was not taken later than the token allowed."""
    purchase = Purchase(call_data(valid_before_s=NOW_S + 100))
    purchase.event = purchase.event_with(at_us=(NOW_S + 86_400) * 1_000_000)
    assert purchase.failing() == {}


@pytest.mark.parametrize("named", [{"mandate_id": "mnd_2"}, {"mandate_use_id": "use_2"}])
def test_an_event_of_another_mandate_or_use_does_not_hold(named: dict[str, str]) -> None:
    """And the use in the bundle is named by no event."""
    purchase = Purchase()
    purchase.event = purchase.event_with(**named)
    assert set(purchase.failing()) == {"event", "mandate_use"}


def test_a_use_that_was_left_out_is_missed() -> None:
    """The event names it."""
    purchase = Purchase()
    assert set(purchase.failing([purchase.payment, purchase.transaction, purchase.event])) == {"event"}


def test_a_receipt_that_was_left_out_is_missed() -> None:
    """Where the event names it, as a seller's does."""
    purchase = Purchase()
    purchase.event = purchase.event_with(receipt_id="rcpt_1")
    assert purchase.failing() == {}
    assert set(purchase.failing([line for line in purchase.lines if line["kind"] != "receipt"])) == {"event"}


def test_two_payments_under_one_use_do_not_hold() -> None:
    """A use pays once."""
    purchase = Purchase()
    assert "2 events" in purchase.failing([*purchase.lines, purchase.event])["mandate_use"]


@pytest.mark.parametrize("left_out", ["payment", "transaction", "event"])
def test_a_bundle_without_a_payment_its_transaction_or_its_event_does_not_hold(left_out: str) -> None:
    """What proves no purchase is not true of one."""
    purchase = Purchase()
    lines = [line for line in purchase.lines if line["kind"] in {"payment", "transaction", "event"} - {left_out}]
    assert "proves no purchase" in purchase.failing(lines)["manifest"]
    assert "proves no purchase" in purchase.failing([])["manifest"]


def test_the_payee_is_compared_in_any_spelling() -> None:
    """A token that spells the address with capitals is for the same payee."""
    purchase = Purchase(payees=(PAYEE.upper().replace("0X", "0x"),))
    purchase.mandate_use = purchase.use(payee=PAYEE.upper().replace("0X", "0x"))
    assert purchase.failing() == {}
