"""Blocks last, keep the wall's time, and can be gone back from as if they had never been."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from devchain_process import ChainProcess, authorization
from eth_account import Account
from web3 import Web3
from web3.exceptions import TransactionNotFound, Web3RPCError

from agentnode.devchain import CHAIN_ID
from agentnode.devchain.chain import DevelopmentChain
from agentnode.devchain.envelope import RpcError
from agentnode.devchain.execution import CallRequest, call
from agentnode.devchain.genesis import ACCOUNTS, MULTICALL3, TIMESTAMP_S

SENDER = Account.from_key(ACCOUNTS[0][1])
PAYEE = ACCOUNTS[1][0]


def raw_transfer(nonce: int, **fields: Any) -> bytes:
    """One wei from account 0 to account 1."""
    transaction = {
        "chainId": CHAIN_ID,
        "nonce": nonce,
        "to": PAYEE,
        "value": 1,
        "gas": 21_000,
        "maxFeePerGas": 5 * 10**9,
        "maxPriorityFeePerGas": 10**9,
    }
    return bytes(SENDER.sign_transaction({**transaction, **fields}).raw_transaction)


class HandClock:
    """A wall clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = TIMESTAMP_S + 1_000_000

    def __call__(self) -> int:
        return self.now_s


def open_chain(folder: Path, clock: HandClock) -> DevelopmentChain:
    return DevelopmentChain.open(folder / "blocks.sqlite3", clock)


def seen_time(chain: DevelopmentChain) -> int:
    """block.timestamp as a contract that is called now sees it."""
    zero = bytes(20)
    request = CallRequest(zero, Web3.to_bytes(hexstr=MULTICALL3), 0, bytes.fromhex("0f28c97d"), None)
    return int.from_bytes(call(chain.state_now(), request), "big")


def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    """After SIGTERM and a new start on the folder: the same head, receipt, balance, nonce and logs; it exits with 0."""
    first = ChainProcess(tmp_path)
    payer = first.funded("7")
    head = first.web3.eth.get_block("latest")
    logs = first.rpc("eth_getLogs", {"fromBlock": "0x0"})
    receipt = first.web3.eth.get_transaction_receipt(head.transactions[-1])
    assert first.stop() == 0
    second = ChainProcess(tmp_path)
    assert second.web3.eth.get_block("latest") == head
    assert second.web3.eth.get_transaction_receipt(head.transactions[-1]) == receipt
    assert second.rpc("eth_getLogs", {"fromBlock": "0x0"}) == logs
    assert second.usdc().functions.balanceOf(payer.address).call() == 7_000_000
    assert second.send(payer, to=PAYEE, value=1).status == 1
    second.stop()


def test_kill_9_loses_no_acknowledged_block(tmp_path: Path) -> None:
    """What was answered with a hash before the kill is there after it, and nothing is half there."""
    first = ChainProcess(tmp_path)
    acknowledged: list[str] = []

    def send_until_killed() -> None:
        for nonce in range(10_000):
            try:
                answer = first.rpc("eth_sendRawTransaction", "0x" + raw_transfer(nonce).hex())
            except httpx.TransportError:
                return
            acknowledged.append(answer["result"])
            if len(acknowledged) == 30:
                killer.submit(first._process.kill)

    with ThreadPoolExecutor(1) as killer:
        send_until_killed()
    first.wait()
    second = ChainProcess(tmp_path)
    assert len(acknowledged) >= 30
    assert all(second.web3.eth.get_transaction_receipt(each).status == 1 for each in acknowledged)
    nonce = second.web3.eth.get_transaction_count(SENDER.address)
    assert nonce - len(acknowledged) in (0, 1)
    assert second.web3.eth.block_number == nonce
    assert second.web3.eth.get_balance(PAYEE) == 10_000 * 10**18 + nonce
    assert "result" in second.rpc("eth_sendRawTransaction", "0x" + raw_transfer(nonce).hex())
    second.stop()


def test_blocks_of_another_genesis_are_refused_with_the_remedy(tmp_path: Path) -> None:
    process = ChainProcess(tmp_path)
    process.stop()
    (file,) = tmp_path.glob("*.sqlite3")
    connection = sqlite3.connect(file)
    connection.execute("UPDATE genesis SET fingerprint = 'of another version'")
    connection.commit()
    connection.close()
    refused = ChainProcess(tmp_path)
    assert refused.first_line.startswith("failed CHAIN_GENESIS_MISMATCH: ")
    assert "delete that file to start a new chain" in refused.first_line
    assert refused.wait() == 1


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    """Two processes never write one chain."""
    process = ChainProcess(tmp_path)
    refused = ChainProcess(tmp_path)
    assert refused.first_line.startswith("failed CHAIN_FOLDER_IN_USE: ")
    assert refused.wait() == 1
    process.stop()


def test_many_blocks_in_one_second_do_not_drive_the_clock(tmp_path: Path) -> None:
    """A hundred blocks while the wall clock stands still: all stamped with its second."""
    clock = HandClock()
    chain = open_chain(tmp_path, clock)
    for nonce in range(100):
        (outcome,) = chain.send([raw_transfer(nonce)])
        assert isinstance(outcome, bytes)
    blocks = chain.records.blocks_between(1, 200)
    assert len(blocks) == 100
    assert {int(block["timestamp"], 16) for block in blocks} == {clock.now_s}


def test_after_an_idle_hour_calls_and_blocks_have_the_walls_time(tmp_path: Path) -> None:
    """Nothing was mined for an hour: a call sees the new time, and the next block is stamped with it."""
    clock = HandClock()
    chain = open_chain(tmp_path, clock)
    chain.send([raw_transfer(0)])
    clock.now_s += 3_600
    assert seen_time(chain) == clock.now_s
    chain.send([raw_transfer(1)])
    assert chain.head.timestamp == clock.now_s


def test_a_clock_that_is_set_back_stops_the_chains(tmp_path: Path) -> None:
    """Time never runs backwards on the chain: blocks keep the last second until the wall clock has caught up."""
    clock = HandClock()
    chain = open_chain(tmp_path, clock)
    chain.send([raw_transfer(0)])
    clock.now_s -= 50
    chain.send([raw_transfer(1)])
    assert chain.head.timestamp == clock.now_s + 50
    assert seen_time(chain) == clock.now_s + 50


def test_authorizations_of_a_few_seconds_survive_a_busy_chain(chain: ChainProcess) -> None:
    """Sixty payments at once, each open for thirty seconds: all are made, and the chain's clock is still the wall's."""
    payers = [chain.funded("1") for _ in range(6)]
    info, usdc = chain.info(), chain.usdc()
    raws = []
    for payer in payers:
        for nonce in range(10):
            authorized = authorization(payer, PAYEE, 1, valid_before=int(time.time()) + 30)
            arguments = [*authorized.arguments(), bytes(authorized.sign(info["usdc"]).signature)]
            calldata = usdc.encode_abi("transferWithAuthorization", args=arguments)
            raws.append((payer, nonce, chain.signed(payer, nonce=nonce, to=usdc.address, data=calldata)))

    def send_all(payer: Any) -> list[Any]:
        own = [raw for sender, _, raw in raws if sender is payer]
        return [chain.rpc("eth_sendRawTransaction", "0x" + raw.hex()) for raw in own]

    with ThreadPoolExecutor(len(payers)) as threads:
        answers = [answer for batch in threads.map(send_all, payers) for answer in batch]
    statuses = [chain.web3.eth.get_transaction_receipt(answer["result"]).status for answer in answers]
    assert statuses == [1] * 60
    assert chain.web3.eth.get_block("latest").timestamp <= time.time()


def test_waiting_transactions_share_a_block(tmp_path: Path) -> None:
    """A refused one in their midst takes nothing from the others, and each is told its own outcome."""
    chain = open_chain(tmp_path, HandClock())
    outcomes = chain.send([raw_transfer(0), raw_transfer(5), b"\x02nonsense", raw_transfer(1)])
    assert [isinstance(outcome, bytes) for outcome in outcomes] == [True, False, False, True]
    assert "nonce too high: next nonce 1, tx nonce 5" in str(outcomes[1])
    assert chain.head.block_number == 1
    assert [each["nonce"] for each in chain.records.transactions_of(1)] == ["0x0", "0x1"]


def test_what_does_not_fit_waits_for_the_next_block(tmp_path: Path) -> None:
    """Transactions that each ask for nearly a whole block's gas get a block each, in their order."""
    chain = open_chain(tmp_path, HandClock())
    outcomes = chain.send([raw_transfer(nonce, gas=29_990_000, value=0) for nonce in range(3)])
    assert all(isinstance(outcome, bytes) for outcome in outcomes)
    nonces = [[each["nonce"] for each in chain.records.transactions_of(number)] for number in (1, 2, 3)]
    assert nonces == [["0x0"], ["0x1"], ["0x2"]]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"chainId": 1}, "invalid chain id for signer: have 1 want 31337"),
        ({"nonce": 3}, "nonce too high: next nonce 0, tx nonce 3"),
        ({"value": 10**30}, "insufficient funds for gas * price + value"),
        ({"gas": 20_000}, "intrinsic gas too low"),
        ({"gas": 30_000_001}, "exceeds block gas limit"),
        ({"maxFeePerGas": 1, "maxPriorityFeePerGas": 1}, "max fee per gas less than block base fee"),
    ],
)
def test_a_transaction_that_no_block_may_hold_is_refused(tmp_path: Path, fields: dict[str, int], words: str) -> None:
    """In geth's words, and no block is made of it: another chain's above all, which py-evm would take."""
    chain = open_chain(tmp_path, HandClock())
    (outcome,) = chain.send([raw_transfer(0, **fields) if "nonce" not in fields else raw_transfer(fields["nonce"])])
    assert isinstance(outcome, RpcError)
    assert words in outcome.message
    assert chain.head.block_number == 0


def test_a_transaction_is_mined_once(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, HandClock())
    first, second = chain.send([raw_transfer(0), raw_transfer(0)])
    assert isinstance(first, bytes)
    assert "nonce too low: next nonce 1, tx nonce 0" in str(second)


def test_a_transaction_without_a_chain_id_is_refused(tmp_path: Path) -> None:
    """It could be replayed from any chain."""
    chain = open_chain(tmp_path, HandClock())
    legacy = {"nonce": 0, "to": PAYEE, "value": 1, "gas": 21_000, "gasPrice": 5 * 10**9}
    (outcome,) = chain.send([bytes(SENDER.sign_transaction(legacy).raw_transaction)])
    assert "only replay-protected (EIP-155) transactions" in str(outcome)
    (outcome,) = chain.send([bytes(SENDER.sign_transaction({**legacy, "chainId": CHAIN_ID}).raw_transaction)])
    assert isinstance(outcome, bytes)


def test_going_back_to_a_snapshot_undoes_blocks_and_all_that_is_known_of_them(tmp_path: Path) -> None:
    """Head, balance, nonce, receipt, transaction, block, logs: as before; the same transaction can be mined again."""
    process = ChainProcess(tmp_path)
    payer = process.funded("5")
    usdc = process.usdc()
    before = process.web3.eth.get_block("latest")
    snapshot = process.rpc("evm_snapshot")["result"]
    raw = process.signed(payer, to=usdc.address, data=usdc.encode_abi("transfer", args=[PAYEE, 9]))
    sent = process.web3.eth.send_raw_transaction(raw)
    undone = process.web3.eth.get_transaction_receipt(sent)
    process.rpc("evm_mine")

    assert process.rpc("evm_revert", snapshot)["result"] is True
    assert process.web3.eth.get_block("latest") == before
    assert process.web3.eth.get_transaction_count(payer.address) == 0
    assert usdc.functions.balanceOf(payer.address).call() == 5_000_000
    with pytest.raises(TransactionNotFound):
        process.web3.eth.get_transaction_receipt(sent)
    with pytest.raises(TransactionNotFound):
        process.web3.eth.get_transaction(sent)
    assert process.rpc("eth_getBlockByHash", undone.blockHash.to_0x_hex(), False)["result"] is None
    logs = process.rpc("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest", "address": usdc.address})["result"]
    assert sent.to_0x_hex() not in {log["transactionHash"] for log in logs}

    other = process.send(payer, to=PAYEE, value=1)
    assert other.blockNumber == undone.blockNumber
    with pytest.raises(TransactionNotFound):
        process.web3.eth.get_transaction_receipt(sent)
    assert process.rpc("evm_revert", snapshot)["result"] is False
    process.stop()

    again = ChainProcess(tmp_path)
    assert again.web3.eth.get_transaction_receipt(other.transactionHash).blockHash == other.blockHash
    again.stop()


def test_the_same_transaction_can_come_back_after_a_reorg(tmp_path: Path) -> None:
    """What a node would re-broadcast after a reorganisation is mined again, in a block of its own time."""
    clock = HandClock()
    chain = open_chain(tmp_path, clock)
    outer, raw = chain.snapshot(), raw_transfer(0)
    (first,) = chain.send([raw])
    assert isinstance(first, bytes)
    inner = chain.snapshot()
    assert chain.revert(outer)
    assert not chain.revert(inner), "a snapshot of blocks that are gone is gone with them"
    assert chain.records.receipt(first) is None
    clock.now_s += 10
    assert chain.send([raw]) == [first]
    receipt = chain.records.receipt(first)
    assert receipt is not None
    block = chain.records.block_by_hash(bytes.fromhex(receipt["blockHash"][2:]))
    assert block is not None
    assert int(block["timestamp"], 16) == clock.now_s


def test_a_history_of_states_can_be_asked(chain: ChainProcess) -> None:
    """Balances at a block, by number, tag, or hash; above the head there is none."""
    payer = chain.funded("2")
    functions, number = chain.usdc().functions, chain.web3.eth.block_number
    block_hash = chain.web3.eth.get_block(number).hash
    assert functions.balanceOf(payer.address).call(block_identifier=number - 1) == 0
    assert functions.balanceOf(payer.address).call(block_identifier=number) == 2_000_000
    assert functions.balanceOf(payer.address).call(block_identifier=block_hash) == 2_000_000
    with pytest.raises(Web3RPCError, match="header not found"):
        functions.balanceOf(payer.address).call(block_identifier=number + 1_000)
