"""The faucet gives what is asked, and says what is wrong with what is not."""

from __future__ import annotations

from typing import Any

import pytest
from devchain_process import ChainProcess
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from agentnode.devchain.faucet import read_gift

ADDRESS = "0x" + "12" * 20


@pytest.mark.parametrize(("asked", "given_usdc", "atomic"), [("25.5", "25.5", 25_500_000), (3, "3", 3_000_000)])
def test_it_gives_usdc_and_ether_for_gas(chain: ChainProcess, asked: Any, given_usdc: str, atomic: int) -> None:
    """A fresh address then has exactly that USDC and one ether; the hash is the mint's."""
    fresh = Account.create().address
    answer = chain.http.post("/faucet", json={"address": fresh.lower(), "usdc": asked})
    assert answer.status_code == 200
    body = answer.json()
    assert body == {"tx_hash": body["tx_hash"], "address": fresh, "usdc": given_usdc, "eth": "1"}
    assert chain.usdc().functions.balanceOf(fresh).call() == atomic
    assert chain.web3.eth.get_balance(fresh) == 10**18
    receipt = chain.web3.eth.get_transaction_receipt(body["tx_hash"])
    assert (receipt.status, receipt.to) == (1, chain.usdc().address)


def test_none_is_ether_only(chain: ChainProcess) -> None:
    fresh = Account.create().address
    body = chain.http.post("/faucet", json={"address": fresh, "usdc": "0"}).json()
    assert (body["usdc"], chain.web3.eth.get_balance(fresh)) == ("0", 10**18)
    assert chain.web3.eth.get_transaction_receipt(body["tx_hash"]).to == fresh


def test_it_takes_no_accounts_nonce(chain: ChainProcess) -> None:
    """A client that holds an account's next nonce is not overtaken by the faucet."""
    accounts = [account["address"] for account in chain.info()["accounts"]]
    before = [chain.web3.eth.get_transaction_count(address) for address in accounts]
    chain.funded("1")
    assert [chain.web3.eth.get_transaction_count(address) for address in accounts] == before


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", "body"),
        (b"[]", "body"),
        (b'{"usdc": "1"}', "address"),
        (b'{"address": "0x12", "usdc": "1"}', "address"),
        (b'{"address": "0x%s", "usdc": "1"}' % (b"zz" * 20), "address"),
        (b'{"address": "0x%s", "usdc": "1"}' % (b"00" * 20), "address"),
        (b'{"address": "%s"}' % ADDRESS.encode(), "usdc"),
        (b'{"address": "%s", "usdc": "-1"}' % ADDRESS.encode(), "usdc"),
        (b'{"address": "%s", "usdc": "1e99"}' % ADDRESS.encode(), "usdc"),
        (b'{"address": "%s", "usdc": "NaN"}' % ADDRESS.encode(), "usdc"),
        (b'{"address": "%s", "usdc": "0.0000001"}' % ADDRESS.encode(), "usdc"),
        (b'{"address": "%s", "usdc": true}' % ADDRESS.encode(), "usdc"),
    ],
)
def test_bad_input_is_a_400_that_names_the_field(chain: ChainProcess, body: bytes, param: str) -> None:
    answer = chain.http.post("/faucet", content=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("INVALID_INPUT", param)
    assert error["message"].startswith(f"INVALID_INPUT: {param} ")


@given(st.integers(0, 10**15))
def test_amounts_are_read_to_the_unit(atomic: int) -> None:
    """Every amount of up to six decimals is exactly its atomic units."""
    whole, part = divmod(atomic, 1_000_000)
    assert read_gift({"address": ADDRESS, "usdc": f"{whole}.{part:06d}"}).usdc_atomic == atomic
