"""The chain as its clients meet it: a process, its URL, and web3.py's view of it."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.contract import Contract

from agentnode.devchain import CHAIN_ID, artifact
from tests.forked import Program


class ChainProcess:
    """`python -m agentnode.devchain` over a folder; ends with `stop` or `kill`."""

    def __init__(self, folder: Path, chain_id: int = CHAIN_ID) -> None:
        at = ("--parent-pipe", "--port", "0", "--data", str(folder), "--chain-id", str(chain_id))
        self._process = Program("agentnode.devchain", *at)
        self.first_line = self._process.stdout.readline().strip()
        self.url = self.first_line.removeprefix("ready ")
        self.web3 = Web3(Web3.HTTPProvider(self.url))
        self.http = httpx.Client(base_url=self.url, timeout=30)

    def info(self) -> dict[str, Any]:
        return self.http.get("/info").json()

    def rpc(self, method: str, *params: Any) -> dict[str, Any]:
        """The whole answer, result or error."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        return self.http.post("/", json=request).json()

    def contract(self, name: str, address: str) -> Contract:
        return self.web3.eth.contract(address=Web3.to_checksum_address(address), abi=artifact(name).abi)

    def usdc(self) -> Contract:
        return self.contract("UsdCoin", self.info()["usdc"]["address"])

    def funded(self, usdc: str = "100") -> LocalAccount:
        """A fresh account with USDC, and ether for gas."""
        account: LocalAccount = Account.create()
        self.http.post("/faucet", json={"address": account.address, "usdc": usdc}).raise_for_status()
        return account

    def signed(self, account: LocalAccount, **fields: Any) -> bytes:
        """A raw type-2 transaction of the account, with its next nonce unless one is given."""
        transaction = {
            "chainId": CHAIN_ID,
            "nonce": fields.get("nonce", self.web3.eth.get_transaction_count(account.address)),
            "gas": 300_000,
            "maxFeePerGas": 5 * 10**9,
            "maxPriorityFeePerGas": 10**9,
            "value": 0,
            **fields,
        }
        return bytes(account.sign_transaction(transaction).raw_transaction)

    def send(self, account: LocalAccount, **fields: Any) -> Any:
        """The receipt of a transaction of the account."""
        sent = self.web3.eth.send_raw_transaction(self.signed(account, **fields))
        return self.web3.eth.wait_for_transaction_receipt(sent)

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def close_pipe(self) -> int:
        self._process.stdin.close()
        return self.wait()

    def kill(self) -> None:
        """As kill -9."""
        self._process.kill()
        self.http.close()

    def wait(self) -> int:
        self.http.close()
        return self._process.wait(20)


@dataclass(frozen=True)
class Authorization:
    """An EIP-3009 transfer as its payer signs it."""

    payer: LocalAccount
    payee: str
    value: int
    valid_after: int
    valid_before: int
    nonce: bytes

    def arguments(self) -> tuple[Any, ...]:
        return (self.payer.address, self.payee, self.value, self.valid_after, self.valid_before, self.nonce)

    def sign(self, usdc: dict[str, Any], kind: str = "TransferWithAuthorization") -> Any:
        """The payer's signature over the token's domain, with .v .r .s and .signature."""
        message = {
            "from": self.payer.address,
            "to": self.payee,
            "value": self.value,
            "validAfter": self.valid_after,
            "validBefore": self.valid_before,
            "nonce": self.nonce,
        }
        fields = [
            {"name": "from", "type": "address"},
            {"name": "to", "type": "address"},
            {"name": "value", "type": "uint256"},
            {"name": "validAfter", "type": "uint256"},
            {"name": "validBefore", "type": "uint256"},
            {"name": "nonce", "type": "bytes32"},
        ]
        return self.payer.sign_typed_data(token_domain(usdc), {kind: fields}, message)


def token_domain(token: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": token["name"],
        "version": token["version"],
        "chainId": token.get("chain_id", CHAIN_ID),
        "verifyingContract": token["address"],
    }


def authorization(
    payer: LocalAccount, payee: str, value: int = 1_000_000, nonce: str = "", **window: int
) -> Authorization:
    """One that is open now, unless `valid_after` or `valid_before` say otherwise; with a nonce of its own."""
    now = int(time.time())
    return Authorization(
        payer=payer,
        payee=payee,
        value=value,
        valid_after=window.get("valid_after", 0),
        valid_before=window.get("valid_before", now + 300),
        nonce=bytes.fromhex(nonce[2:]) if nonce else Account.create().key,
    )
