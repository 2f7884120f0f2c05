"""A purchase by the scheme `onchain` is proved by what its payer sent and signed, and by nobody else's transaction."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from own_transfers import claim_payload, claimed, usdt, with_usdt

from agentnode.evidence.bundle import Bundle, read, seal
from agentnode.evidence.onchain import confirm
from agentnode.evidence.verify import verify
from agentnode.payments import RECEIPT_TYP
from tests.devchain.devchain_process import ChainProcess
from tests.node_keys import node_keys
from tests.scenarios.node_process import NodeProcess
from trust.signatures import jws


def asked(node: NodeProcess, asset: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A task, and how it is paid in that token by a transfer of one's own."""
    task = node.send("What is proved?")
    entries = task["status"]["message"]["metadata"]["x402.payment.required"]["accepts"]
    wanted = ("onchain", asset.lower())
    return task, next(entry for entry in entries if (entry["scheme"], entry["asset"].lower()) == wanted)


def proof(node: NodeProcess, task: dict[str, Any], payload: dict[str, Any]) -> Bundle:
    """The seller's bundle of the task that this pays."""
    node.pay(task, payload)
    node.until(task["id"], "completed")
    return read(node.http.get(f"/api/v2/evidence/tasks/{task['id']}").content)


def bought(node: NodeProcess, chain: ChainProcess, payer: LocalAccount, asset: str, amount: int) -> Bundle:
    task, accepts = asked(node, asset)
    return proof(node, task, claimed(chain, payer, accepts, amount))


def failing(bundle: Bundle, chain: ChainProcess | None = None) -> set[str]:
    checks = verify(bundle, chain_asked=chain is not None)
    checks += asyncio.run(confirm(bundle, chain.url)) if chain else []
    return {check.kind for check in checks if not check.ok}


@pytest.mark.parametrize("token", ["usdc", "usdt"])
def test_what_a_payer_sent_itself_is_proved_and_a_foreign_transaction_is_not(
    node: NodeProcess, chain: ChainProcess, token: str
) -> None:
    """Bought by two, of whom one sent more than was asked. With the other's transaction in its place the story does not
    hold, however whole a seller tells it and seals it anew: who sent that signed another claim."""
    asset = usdt(chain) if token == "usdt" else chain.info()["usdc"]["address"]
    ours, foreign = (bought(node, chain, with_usdt(chain), asset, amount) for amount in (15_000, 10_000))
    for bundle in (ours, foreign):
        assert failing(bundle) == failing(bundle, chain) == set()
    assert [line.object["scheme"] for line in ours.of("payment")] == ["onchain"]

    theirs = {kind: foreign.of(kind)[0].object for kind in ("payment", "transaction", "receipt")}
    named = {"tx_hash": theirs["payment"]["tx_hash"]}
    put_in = {"transaction": theirs["transaction"], "payment": named, "claim": named}
    assert failing(resealed(ours, **put_in)) >= {"transaction", "payment", "claim"}
    told = {"payer": theirs["payment"]["payer"], "amount_atomic": theirs["payment"]["amount_atomic"], **named}
    whole = put_in | {"payment": told, "receipt": {"transaction": named["tx_hash"], "payer": told["payer"]}}
    whole["receipt"]["amount"] = told["amount_atomic"]
    assert failing(resealed(ours, **whole)) == failing(resealed(ours, **whole), chain) == {"claim"}
    without = [line.object for line in ours.lines if line.kind != "claim"]
    assert failing(read(seal(without, node_keys(), 1, 0))) == {"payment"}


def test_what_a_contract_moved_for_its_payer_holds_only_where_the_chain_is_asked(
    node: NodeProcess, chain: ChainProcess
) -> None:
    """Its log could be invented, and no bytes of the payer's call for the transfer; its claim is the payer's all the
    same."""
    usdc, payer, mover = chain.usdc(), chain.funded("1"), chain.funded("0")
    task, accepts = asked(node, usdc.address)
    chain.send(payer, to=usdc.address, data=usdc.encode_abi("approve", args=[mover.address, 10_000]))
    call = usdc.encode_abi("transferFrom", args=[payer.address, accepts["payTo"], 10_000])
    moved = chain.send(mover, to=usdc.address, data=call)
    bundle = proof(node, task, claim_payload(payer, moved["transactionHash"].to_0x_hex(), accepts))
    assert (failing(bundle), failing(bundle, chain)) == ({"payment"}, set())


def resealed(bundle: Bundle, **changed: dict[str, Any]) -> Bundle:
    """Told otherwise, and sealed by who tells it; a receipt is signed anew."""
    keys, lines = node_keys(), list[dict[str, Any]]()
    for line in bundle.lines:
        told = {**line.object, **changed.get(line.kind, {})}
        if line.kind == "receipt":
            claims = jws.verify(told["jws"], did=told["issuer"], typ=RECEIPT_TYP) | changed.get("receipt", {})
            told = {"kind": "receipt", "issuer": keys.did, "jws": keys.sign({**claims, "iss": keys.did}, RECEIPT_TYP)}
        lines.append(told)
    return read(seal(lines, keys, 1, 0))
