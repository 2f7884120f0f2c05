"""A wallet signs the mandate that its owner asked for, and nothing else that a node answers with."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from agentnode.cli.local import NodeSaid
from agentnode.cli.mandate import sign_mandate
from mandates.terms import read_draft
from trust.signatures import eip712

CHAIN_ID = 31337
GRANTOR: LocalAccount = Account.from_key("0x" + "11" * 32)
AGENT: LocalAccount = Account.from_key("0x" + "22" * 32)
THIEF = "0x00000000000000000000000000000000000000aa"
LIMITS = {"max_amount_usd": "0.01", "allowed_categories": ["agent_hire"], "valid_until": 4_000_000_000}

Change = Callable[[dict[str, Any]], None]


class Wallets:
    """The folder's wallets, open already."""

    def address(self, name: str) -> str:
        return str(self.account(name).address)

    def account(self, name: str) -> LocalAccount:
        return GRANTOR if name == "grantor" else AGENT


class Node:
    """Answers `prepare` as a node does, with one change; keeps what was handed in."""

    def __init__(self, change: Change = lambda prepared: None, chain_id: int = CHAIN_ID) -> None:
        self._change = change
        self._chain_id = chain_id
        self.handed_in: list[dict[str, Any]] = []

    def call(self, method: str, path: str, body: Any = None) -> Any:
        if path.endswith("/prepare"):
            prepared = answer(body, self._chain_id)
            self._change(prepared)
            return prepared
        self.handed_in.append(body["mandate"])
        return {"mandate": {**body["mandate"], "id": "mnd_1"}}


def answer(body: Any, chain_id: int = CHAIN_ID) -> dict[str, Any]:
    terms = read_draft(body).completed("did:key:zNode", chain_id, "0x" + "33" * 32, 1_700_000_000)
    typed_data = terms.typed_data()
    digest = "0x" + eip712.digest(typed_data).hex()
    return copy.deepcopy({"mandate": terms.shown(), "typed_data": typed_data, "digest": digest})


def grant(node: Node) -> dict[str, Any]:
    return sign_mandate(node, Wallets(), CHAIN_ID, "grantor", "default", dict(LIMITS))  # type: ignore[arg-type]


def test_what_is_handed_in_is_the_mandate_asked_for_with_its_grantors_signature() -> None:
    """Completed with the node's authority, nonce and time, and valid for any verifier."""
    node = Node()
    grant(node)
    (mandate,) = node.handed_in
    assert mandate["constraints"]["max_amount_usd_exact"] == "0.01"
    signed = {name: value for name, value in mandate.items() if name != "signature"}
    assert eip712.recover(answer({"mandate": signed})["typed_data"], mandate["signature"]) == GRANTOR.address


def a_transfer(prepared: dict[str, Any]) -> None:
    """USDC's TransferWithAuthorization of the grantor's money."""
    names = [("from", "address"), ("to", "address"), ("value", "uint256"), ("nonce", "bytes32")]
    domain = [("name", "string"), ("version", "string"), ("chainId", "uint256"), ("verifyingContract", "address")]
    prepared["typed_data"] = {
        "types": {
            "EIP712Domain": [{"name": name, "type": kind} for name, kind in domain],
            "TransferWithAuthorization": [{"name": name, "type": kind} for name, kind in names],
        },
        "primaryType": "TransferWithAuthorization",
        "domain": {"name": "USD Coin", "version": "2", "chainId": CHAIN_ID, "verifyingContract": THIEF},
        "message": {"from": GRANTOR.address, "to": THIEF, "value": 50_000_000, "nonce": "0x" + "44" * 32},
    }
    prepared["digest"] = "0x" + eip712.digest(prepared["typed_data"]).hex()


def more_money(prepared: dict[str, Any]) -> None:
    """A true mandate, of another amount."""
    limits = {**LIMITS, "max_amount_usd": "50"}
    body = {name: prepared["mandate"][name] for name in ("type", "user_did", "agent_did")}
    prepared |= answer({"mandate": {**body, "constraints": limits}})


def more_in_what_is_signed(prepared: dict[str, Any]) -> None:
    prepared["typed_data"]["message"]["maxAmountUsdNanos"] = "50000000000"


def another_digest(prepared: dict[str, Any]) -> None:
    prepared["digest"] = "0x" + "55" * 32


def another_agent(prepared: dict[str, Any]) -> None:
    body = {name: prepared["mandate"][name] for name in ("type", "user_did", "constraints")}
    prepared |= answer({"mandate": {**body, "agent_did": f"did:pkh:eip155:{CHAIN_ID}:{THIEF}"}})


def a_member_that_nobody_asked(prepared: dict[str, Any]) -> None:
    prepared["mandate"]["constraints"]["max_uses"] = 3


def not_completed(prepared: dict[str, Any]) -> None:
    del prepared["mandate"]["nonce"]


def no_mandate(prepared: dict[str, Any]) -> None:
    prepared["mandate"] = "signed"


@pytest.mark.parametrize(
    "change",
    [
        a_transfer,
        more_money,
        more_in_what_is_signed,
        another_digest,
        another_agent,
        a_member_that_nobody_asked,
        not_completed,
        no_mandate,
        dict.clear,
    ],
)
def test_a_node_that_gives_something_else_to_sign_gets_no_signature(change: Change) -> None:
    """A stale node.url, or whoever P402_BASE_URL names: one sentence, and nothing is handed in."""
    node = Node(change)
    with pytest.raises(NodeSaid, match="TERMS_DIFFER"):
        grant(node)
    assert node.handed_in == []


def test_a_mandate_for_another_chain_than_the_settings_is_not_signed() -> None:
    """The node is on another chain than the folder."""
    node = Node(chain_id=8453)
    with pytest.raises(NodeSaid, match=r"TERMS_DIFFER: .*8453.*31337"):
        grant(node)
    assert node.handed_in == []
