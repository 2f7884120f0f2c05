"""The official x402 clients of version 2 and of version 1 buy completions from a node without being told of it.

Run by `make interop`. The Python client of version 2 is a dependency, so it buys in `make test`
(`tests/payments/test_official_client.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from npm import install, needs_node, node, run

from tests.devchain.devchain_process import ChainProcess
from tests.scenarios.node_process import NodeProcess, usdc

BODY = {"messages": [{"role": "user", "content": "say hi"}], "max_tokens": 20}
PAID = 1_000_000 - 1_000


@pytest.fixture(scope="module")
def seller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("x402-clients")
    chain = ChainProcess(folder / "chain")
    running = NodeProcess(folder / "node", chain)
    yield running
    running.stop()
    chain.stop()


@pytest.fixture(scope="module")
def seller_of_version_1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """On a chain that has the id of Base Sepolia: clients of version 1 sign for that and know no other."""
    folder = tmp_path_factory.mktemp("x402-version-1")
    chain = ChainProcess(folder / "chain", chain_id=84532)
    running = NodeProcess(folder / "node", chain, network="eip155:84532", x402_versions=[1])
    for signer in running.http.get("/facilitator/supported").json()["signers"]["eip155:*"]:
        chain.http.post("/faucet", json={"address": signer, "usdc": "0"}).raise_for_status()
    yield running
    running.stop()
    chain.stop()


def bought(seller: NodeProcess, body: dict[str, Any], payer: LocalAccount, version: int) -> dict[str, Any]:
    install()
    url = f"{seller.url}/v1/chat/completions"
    read: dict[str, Any] = json.loads(
        run(node(), "buy.mjs", url, json.dumps(body), payer.key.to_0x_hex(), str(version))
    )
    return read


@needs_node
@pytest.mark.parametrize("streamed", [False, True])
def test_x402_fetch_buys_a_completion(seller: NodeProcess, streamed: bool) -> None:
    """It is asked for a price, signs, sends again, and has the answer and the settlement."""
    payer = seller.chain.funded("1")
    answer = bought(seller, BODY | {"stream": streamed}, payer, 2)
    assert answer["status"] == 200, answer
    assert answer["settled"]["success"]
    assert usdc(seller.chain, payer.address) == PAID
    assert ("data: [DONE]" in answer["text"]) == streamed


@needs_node
def test_x402_extensions_signs_in_to_what_it_bought(seller: NodeProcess) -> None:
    """Asked the same again, its client signs in by itself and pays nothing; signed in, it lists the one receipt."""
    payer = seller.chain.funded("1")
    install()
    url, receipts = f"{seller.url}/v1/chat/completions", f"{seller.url}/api/v2/receipts"
    seen = json.loads(run(node(), "sign_in.mjs", url, json.dumps(BODY), payer.key.to_0x_hex(), receipts))
    assert seen["ids"][0] == seen["ids"][1]
    assert [each["payer"] for each in seen["receipts"]["data"]] == [payer.address.lower()]
    assert usdc(seller.chain, payer.address) == PAID


@needs_node
def test_x402_extensions_verifies_what_the_node_signed(seller: NodeProcess) -> None:
    """The offer is of the entry that is paid, and the receipt matches it, by the official verifier."""
    payer = seller.chain.funded("1")
    install()
    url = f"{seller.url}/v1/chat/completions"
    seen = json.loads(run(node(), "terms.mjs", url, json.dumps(BODY), payer.key.to_0x_hex()))
    assert seen["matches"] is True
    assert seen["accepted"]["scheme"] == "exact"
    assert seen["offered"]["amount"] == seen["accepted"]["amount"]
    assert seen["delivered"]["transaction"] == seen["settled"]["transaction"]


@needs_node
def test_x402_fetch_of_version_1_buys_a_completion(seller_of_version_1: NodeProcess) -> None:
    """It reads the body, sends X-PAYMENT, and is answered with X-PAYMENT-RESPONSE."""
    payer = seller_of_version_1.chain.funded("1")
    answer = bought(seller_of_version_1, BODY, payer, 1)
    assert answer["status"] == 200, answer
    assert answer["settled"]["success"]
    assert answer["settled"]["network"] == "base-sepolia"
    assert usdc(seller_of_version_1.chain, payer.address) == PAID


async def test_the_python_client_of_version_1_buys_a_completion(seller_of_version_1: NodeProcess) -> None:
    from x402 import x402Client
    from x402.http.clients.httpx import x402HttpxClient
    from x402.mechanisms.evm.exact.v1.client import ExactEvmSchemeV1
    from x402.mechanisms.evm.signers import EthAccountSigner

    payer = seller_of_version_1.chain.funded("1")
    client = x402Client()
    client.register_v1("base-sepolia", ExactEvmSchemeV1(EthAccountSigner(payer)))
    client.set_spend_controls({"allowed_assets": True})
    async with x402HttpxClient(client, base_url=seller_of_version_1.url, timeout=60) as http:
        answer = await http.post("/v1/chat/completions", json=BODY)
        await answer.aread()
    assert answer.status_code == 200, answer.text
    assert "x-payment-response" in answer.headers
    assert usdc(seller_of_version_1.chain, payer.address) == PAID
