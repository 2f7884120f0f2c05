"""The official Python client of x402 buys, unmodified."""

from __future__ import annotations

import pytest
from paid_http import CHAT, chat

from tests.devchain.devchain_process import ChainProcess
from tests.scenarios.node_process import NodeProcess, usdc


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_python_client_of_x402_buys_a_completion(
    node: NodeProcess, chain: ChainProcess, streamed: bool
) -> None:
    """Told only which tokens it may spend, it pays the 402 and has the answer."""
    from x402 import x402Client
    from x402.http.clients.httpx import x402HttpxClient
    from x402.mechanisms.evm.exact import ExactEvmScheme
    from x402.mechanisms.evm.signers import EthAccountSigner

    payer = chain.funded("1")
    client = x402Client()
    client.register("eip155:*", ExactEvmScheme(EthAccountSigner(payer)))
    client.set_spend_controls({"allowed_assets": True})
    async with x402HttpxClient(client, base_url=node.url, timeout=60) as http:
        answer = await http.post(CHAT, json=chat(stream=streamed))
        await answer.aread()
    assert answer.status_code == 200, answer.text
    assert "payment-response" in answer.headers
    assert usdc(chain, payer.address) == 990_000
