"""The view of a chain, against the embedded one: what is true, what is not, and what cannot be known."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

import agentnode.devchain
from ledger.errors import InvalidInput
from tests.trust.web_site import Site, ok, site
from trust.chain import SIGNATURE_GAS, ChainView
from trust.chain_records import authorizations, transfers
from trust.errors import CallReverted, ChainMismatch, ChainUnavailable

NOBODY = "0x" + "12" * 20
HASH = "0x" + "ab" * 32
ARTIFACTS = Path(agentnode.devchain.__file__).parent / "artifacts"


class Sender:
    """Sends transactions of one funded account to the embedded chain and waits for none: each is mined at once."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, trust_env=False)
        info = self.http.get("/info").json()
        self.token: str = info["usdc"]["address"]
        self.account: LocalAccount = Account.create()
        self.http.post("/faucet", json={"address": self.account.address, "usdc": "100"}).raise_for_status()

    def rpc(self, method: str, *params: Any) -> Any:
        answer = self.http.post("/", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).json()
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def send(self, to: str | None, data: bytes, gas: int = 1_000_000) -> str:
        fields = {
            "chainId": 31337,
            "nonce": int(self.rpc("eth_getTransactionCount", self.account.address, "latest"), 16),
            "gas": gas,
            "maxFeePerGas": 10**11,
            "maxPriorityFeePerGas": 1,
            "value": 0,
            "data": data,
            **({"to": to} if to else {}),
        }
        return str(
            self.rpc("eth_sendRawTransaction", "0x" + self.account.sign_transaction(fields).raw_transaction.hex())
        )

    def deploy(self, creation: bytes) -> str:
        return str(self.rpc("eth_getTransactionReceipt", self.send(None, creation))["contractAddress"])

    def signed(self, primary: str, types: list[tuple[str, str]], message: dict[str, Any]) -> bytes:
        domain = {"name": "USD Coin", "version": "2", "chainId": 31337, "verifyingContract": self.token}
        fields = [{"name": name, "type": kind} for kind, name in types]
        typed = encode_typed_data(domain, {primary: fields}, message)
        return bytes(self.account.sign_message(typed).signature)

    def pay(self, nonce: bytes, payee: str, amount: int) -> str:
        types = ["address", "address", "uint256", "uint256", "uint256", "bytes32"]
        names = ["from", "to", "value", "validAfter", "validBefore", "nonce"]
        values = [self.account.address, payee, amount, 0, 2**40, nonce]
        signature = self.signed(
            "TransferWithAuthorization",
            list(zip(types, names, strict=True)),
            dict(zip(names, values, strict=True)),
        )
        return self.send(
            self.token,
            function(f"transferWithAuthorization({','.join(types)},bytes)", [*types, "bytes"], [*values, signature]),
        )

    def cancel(self, nonce: bytes) -> str:
        message = {"authorizer": self.account.address, "nonce": nonce}
        signature = self.signed("CancelAuthorization", [("address", "authorizer"), ("bytes32", "nonce")], message)
        types = ["address", "bytes32", "bytes"]
        return self.send(
            self.token,
            function("cancelAuthorization(address,bytes32,bytes)", types, [self.account.address, nonce, signature]),
        )


def function(signature: str, types: list[str], values: list[Any]) -> bytes:
    return keccak(text=signature)[:4] + encode(types, values)


def creating(runtime: str) -> bytes:
    """Creation code that puts up to 255 bytes of code on the chain."""
    size = f"{len(bytes.fromhex(runtime)):02x}"
    return bytes.fromhex(f"60{size}600c60003960{size}6000f3{runtime}")


@pytest.fixture(scope="module")
def sender(chain_url: str) -> Iterator[Sender]:
    made = Sender(chain_url)
    yield made
    made.http.close()


@pytest.fixture
async def view(chain_url: str) -> AsyncIterator[ChainView]:
    view = ChainView(chain_url, 31337)
    yield view
    await view.aclose()


async def test_the_chain_that_answers_must_be_the_one_configured(view: ChainView, chain_url: str) -> None:
    """The right id passes; a view configured for another chain is told which one answers."""
    await view.check_chain_id()
    other = ChainView(chain_url, 8453)
    with pytest.raises(ChainMismatch, match="31337"):
        await other.check_chain_id()
    await other.aclose()


async def test_a_used_authorisation_is_found_with_its_money(view: ChainView, sender: Sender) -> None:
    """Before: unused. After: used, and the receipt's logs tell token, from, to, amount and nonce exactly."""
    nonce, payer, token = bytes([1] * 32), sender.account.address, sender.token
    before = await view.balance(token, payer)
    from_block = (await view.head()).number
    assert not await view.authorization_used(token, payer, "0x" + nonce.hex())
    assert await view.authorization_transaction(token, payer, "0x" + nonce.hex(), from_block) is None
    tx_hash = sender.pay(nonce, NOBODY, 10_000)
    receipt = await view.receipt(tx_hash)
    assert receipt is not None and receipt.succeeded and receipt.tx_hash == tx_hash
    (transfer,) = transfers(receipt, token)
    assert (transfer.token, transfer.sender, transfer.payee, transfer.amount_atomic) == (
        token.lower(),
        payer.lower(),
        NOBODY,
        10_000,
    )
    (end,) = authorizations(receipt, token)
    assert (end.outcome, end.authorizer, end.nonce) == ("used", payer.lower(), "0x" + nonce.hex())
    assert await view.authorization_used(token.lower(), payer.lower(), "0x" + nonce.hex())
    assert await view.authorization_end(token, payer, "0x" + nonce.hex(), from_block) == end
    assert await view.authorization_transaction(token, payer, "0x" + nonce.hex(), from_block) == tx_hash
    assert before - await view.balance(token, payer) == 10_000
    assert await view.block_hash(receipt.block_number) == receipt.block_hash
    assert (await view.head()).number >= receipt.block_number
    sent = await view.transaction(tx_hash)
    assert sent is not None and sent["hash"] == tx_hash
    assert receipt.as_rpc()["logs"] and json.dumps(receipt.as_rpc())


async def test_a_cancelled_authorisation_moved_nothing(view: ChainView, sender: Sender) -> None:
    """Its nonce is gone too, and only its end tells that nobody was paid."""
    nonce, payer = bytes([2] * 32), sender.account.address
    receipt = await view.receipt(sender.cancel(nonce))
    assert receipt is not None and transfers(receipt, sender.token) == []
    assert [end.outcome for end in authorizations(receipt, sender.token)] == ["canceled"]
    assert await view.authorization_used(sender.token, payer, "0x" + nonce.hex())
    end = await view.authorization_end(sender.token, payer, "0x" + nonce.hex(), 0)
    assert end is not None and end.outcome == "canceled" and end.tx_hash == receipt.tx_hash
    assert await view.authorization_transaction(sender.token, payer, "0x" + nonce.hex(), 0) is None


async def test_a_reverted_transaction_moved_nothing(view: ChainView, sender: Sender) -> None:
    """The same authorisation a second time is mined as a failure without transfers, and the first stays its end."""
    nonce = bytes([3] * 32)
    first = sender.pay(nonce, NOBODY, 1)
    receipt = await view.receipt(sender.pay(nonce, NOBODY, 1))
    assert receipt is not None and not receipt.succeeded
    assert receipt.transfers() == [] and authorizations(receipt, sender.token) == []
    assert await view.authorization_transaction(sender.token, sender.account.address, "0x" + nonce.hex(), 0) == first


async def test_what_the_chain_does_not_know_is_none(view: ChainView) -> None:
    """An unknown transaction has no receipt, and a block to come has no hash."""
    assert await view.receipt(HASH) is None
    assert await view.transaction(HASH) is None
    assert await view.block_hash(10**9) is None


async def test_no_contract_is_not_an_unused_nonce(view: ChainView, sender: Sender) -> None:
    """Where no such token is, neither a zero balance nor an unused nonce is told."""
    for token in (NOBODY, sender.deploy(creating("60006000fd"))):
        with pytest.raises(CallReverted):
            await view.balance(token, NOBODY)
        with pytest.raises(CallReverted):
            await view.authorization_used(token, NOBODY, HASH)


async def test_malformed_questions_are_bad_input(view: ChainView, sender: Sender) -> None:
    """A short address or nonce is refused, not padded into another one."""
    for address in ("0x12", "", NOBODY + "00", NOBODY[2:]):
        with pytest.raises(InvalidInput):
            await view.balance(sender.token, address)
    with pytest.raises(InvalidInput):
        await view.authorization_used(sender.token, NOBODY, "0x01")


async def test_a_contract_wallet_says_whose_signature_it_takes(view: ChainView, sender: Sender) -> None:
    """Its owner's signature over the digest is good; another key's, another digest's and one cut short are not."""
    creation = bytes.fromhex(json.loads((ARTIFACTS / "ContractWallet.json").read_text())["creation"][2:])
    wallet = sender.deploy(creation + encode(["address"], [sender.account.address]))
    digest = keccak(text="a mandate")
    good = bytes(sender.account.unsafe_sign_hash(digest).signature)
    assert await view.is_valid_signature(wallet, digest, good)
    assert not await view.is_valid_signature(wallet, keccak(text="another"), good)
    assert not await view.is_valid_signature(wallet, digest, bytes(Account.create().unsafe_sign_hash(digest).signature))
    assert not await view.is_valid_signature(wallet, digest, good[:64])
    assert not await view.is_valid_signature(sender.account.address, digest, good), "a key's account is no contract"


MAGIC = "1626ba7e"


@pytest.mark.parametrize(
    ("code", "good"),
    [
        (f"7f{MAGIC}{'00' * 28}60005260206000f3", True),
        (f"7f{MAGIC}{'00' * 27}0160005260206000f3", False),
        (f"7f{'00' * 28}{MAGIC}60005260206000f3", False),
        (f"7f{MAGIC}{'00' * 28}60005260046000f3", False),
        (f"7f{MAGIC}{'00' * 28}60005260206000fd", False),
        ("5b600056", False),
        ("fe", False),
        ("50", False),
        ("600160015560206000f3", False),
        ("6203d0906000f3", False),
        ("00", False),
    ],
    ids=[
        "magic",
        "tail",
        "right-aligned",
        "short",
        "revert",
        "endless",
        "invalid",
        "underflow",
        "writes",
        "huge",
        "nothing",
    ],
)
async def test_a_strangers_contract_answers_within_bounds(
    view: ChainView, sender: Sender, code: str, good: bool
) -> None:
    """Only the magic word is a yes; reverts, loops, faults, short, long and other answers are a no, and none hangs."""
    contract = sender.deploy(creating(code))
    assert await view.is_valid_signature(contract, bytes(32), bytes(65)) is good


async def test_the_gas_of_a_strangers_contract_is_bounded(view: ChainView, sender: Sender) -> None:
    """A contract that would answer yes with more gas than the bound is a no, though the chain could run it."""
    # Answers yes where more than twice the bound is left when it begins, else fails.
    enough = f"{SIGNATURE_GAS * 2:08x}"
    contract = sender.deploy(creating(f"5a63{enough}10600b57fe5b7f{MAGIC}{'00' * 28}60005260206000f3"))
    unbounded = await view.call(contract, b"", SIGNATURE_GAS * 4)
    assert unbounded.hex().startswith(MAGIC)
    assert not await view.is_valid_signature(contract, bytes(32), bytes(65))


async def test_an_overlong_signature_is_not_sent(sender: Sender) -> None:
    """A stranger's kilobytes do not reach the operator's RPC."""
    async with site() as rpc:
        view = ChainView(f"http://127.0.0.1:{rpc.port}/", 31337)
        assert not await view.is_valid_signature(NOBODY, bytes(32), bytes(4_097))
        await view.aclose()
        assert rpc.connections == 0


def rpc_error(code: int, message: str) -> bytes:
    return ok(json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}}).encode())


SILENT_OR_ODD = {
    "html": ok(b"<html>", status="502 Bad Gateway"),
    "empty": ok(b""),
    "list": ok(b"[]"),
    "no result": ok(b'{"jsonrpc":"2.0","id":1}'),
    "another's answer": ok(b'{"jsonrpc":"2.0","id":7,"result":"0x1"}'),
    "rate limit": rpc_error(-32005, "too many requests"),
    "not synchronised": rpc_error(-32000, "header not found"),
    "a number": ok(b'{"jsonrpc":"2.0","id":1,"result":1}'),
    "bad hex": ok(b'{"jsonrpc":"2.0","id":1,"result":"0xzz"}'),
    "null": ok(b'{"jsonrpc":"2.0","id":1,"result":null}'),
    "object": ok(b'{"jsonrpc":"2.0","id":1,"result":{}}'),
}


async def ask_all(rpc: Site, timeout_s: float) -> list[ChainUnavailable]:
    """Each question, on a view of its own, ends in ChainUnavailable."""
    refusals: list[ChainUnavailable] = []
    for question in (
        lambda view: view.check_chain_id(),
        lambda view: view.head(),
        lambda view: view.balance(NOBODY, NOBODY),
        lambda view: view.authorization_used(NOBODY, NOBODY, HASH),
        lambda view: view.authorization_end(NOBODY, NOBODY, HASH, 0),
        lambda view: view.is_valid_signature(NOBODY, bytes(32), bytes(65)),
    ):
        view = ChainView(f"http://127.0.0.1:{rpc.port}/secret-key", 31337, timeout_s=timeout_s)
        with pytest.raises(ChainUnavailable, match="CHAIN_UNAVAILABLE") as refusal:
            await question(view)
        refusals.append(refusal.value)
        await view.aclose()
    return refusals


@pytest.mark.parametrize("answer", SILENT_OR_ODD.values(), ids=SILENT_OR_ODD.keys())
async def test_an_odd_answer_is_unavailable_and_never_a_no(answer: bytes) -> None:
    """Whatever an RPC answers that is no answer, each question ends in ChainUnavailable, without the RPC's URL."""
    async with site() as rpc:
        rpc.answers["/secret-key"] = answer
        for refusal in await ask_all(rpc, 5):
            assert refusal.status == 503 and "secret-key" not in str(refusal)


async def test_a_silent_or_absent_chain_is_unavailable() -> None:
    """A stall and a closed port end within the time-out as ChainUnavailable."""
    async with site() as rpc:
        rpc.answers["/secret-key"] = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
        rpc.stalls.add("/secret-key")
        await ask_all(rpc, 0.2)
    for refusal in await ask_all(rpc, 0.2):
        assert "secret-key" not in str(refusal)


@pytest.mark.parametrize("message", ["execution reverted: no", "out of gas", "OutOfGas: 1", "invalid opcode: INVALID"])
async def test_a_contracts_failure_is_not_the_chains(message: str) -> None:
    """Nodes that tell a contract's failure in words alone are understood: it is a no, and a revert."""
    async with site() as rpc:
        rpc.answers["/"] = rpc_error(-32000, message)
        view = ChainView(f"http://127.0.0.1:{rpc.port}/", 31337)
        assert not await view.is_valid_signature(NOBODY, bytes(32), bytes(65))
        await view.aclose()
