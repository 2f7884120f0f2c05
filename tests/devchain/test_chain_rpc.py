"""The JSON-RPC face has the shapes that strict clients insist on, and refuses what is wrong without breaking."""

from __future__ import annotations

import re
from typing import Any

import pytest
from devchain_process import ChainProcess
from eth_account import Account
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from web3 import Web3
from web3.exceptions import ContractLogicError

from agentnode.devchain.methods import CONSTANTS
from tests.rounds import rounds

HASH = re.compile(r"0x[0-9a-f]{64}")
QUANTITY = re.compile(r"0x(0|[1-9a-f][0-9a-f]*)")
BLOOM = re.compile(r"0x[0-9a-f]{512}")
METHODS = [
    "eth_blockNumber eth_gasPrice eth_feeHistory eth_getBlockByNumber eth_getBlockByHash eth_getBlockReceipts",
    "eth_getBlockTransactionCountByNumber eth_getBlockTransactionCountByHash eth_getTransactionByHash",
    "eth_getTransactionReceipt eth_getTransactionByBlockNumberAndIndex eth_getTransactionByBlockHashAndIndex",
    "eth_getBalance eth_getCode eth_getTransactionCount eth_getStorageAt eth_call eth_estimateGas eth_getLogs",
    "eth_newFilter eth_newBlockFilter eth_getFilterChanges eth_getFilterLogs eth_uninstallFilter web3_sha3",
    "eth_sendRawTransaction evm_revert",
]


def one_payment(chain: ChainProcess) -> tuple[Any, Any]:
    """A payer, and the receipt of a transfer of 3 units of USDC to the zero-padded address 0x..01."""
    payer, usdc = chain.funded("1"), chain.usdc()
    payee = "0x" + "00" * 19 + "01"
    return payer, chain.send(payer, to=usdc.address, data=usdc.encode_abi("transfer", args=[payee, 3]))


def test_a_receipt_is_whole(chain: ChainProcess) -> None:
    """Every field of execution-apis, each of its form; the block's logs are numbered through."""
    payer, sent = one_payment(chain)
    receipt = chain.rpc("eth_getTransactionReceipt", sent.transactionHash.to_0x_hex())["result"]
    assert set(receipt) == {
        "transactionHash", "transactionIndex", "blockHash", "blockNumber", "type", "status", "from", "to",
        "contractAddress", "cumulativeGasUsed", "gasUsed", "effectiveGasPrice", "logs", "logsBloom",
    }  # fmt: skip
    assert BLOOM.fullmatch(receipt["logsBloom"])
    assert (receipt["status"], receipt["type"], receipt["contractAddress"]) == ("0x1", "0x2", None)
    assert (receipt["from"], receipt["to"]) == (payer.address, chain.usdc().address)
    assert all(QUANTITY.fullmatch(receipt[key]) for key in ("gasUsed", "cumulativeGasUsed", "effectiveGasPrice"))
    (log,) = receipt["logs"]
    assert (log["logIndex"], log["removed"], log["address"]) == ("0x0", False, chain.usdc().address)
    assert [HASH.fullmatch(topic) is not None for topic in log["topics"]] == [True, True, True]
    assert (log["topics"][2], int(log["data"], 16)) == ("0x" + "00" * 31 + "01", 3)


def test_a_block_is_whole(chain: ChainProcess) -> None:
    """By number and by hash the same; its hash is the hash of its header; whole transactions where asked."""
    _, sent = one_payment(chain)
    block = chain.rpc("eth_getBlockByNumber", hex(sent.blockNumber), False)["result"]
    assert chain.rpc("eth_getBlockByHash", block["hash"], False)["result"] == block
    assert block["transactions"] == [sent.transactionHash.to_0x_hex()]
    assert BLOOM.fullmatch(block["logsBloom"])
    assert chain.rpc("eth_getBlockByNumber", hex(sent.blockNumber - 1), False)["result"]["hash"] == block["parentHash"]
    (whole,) = chain.rpc("eth_getBlockByNumber", hex(sent.blockNumber), True)["result"]["transactions"]
    assert whole == chain.rpc("eth_getTransactionByHash", whole["hash"])["result"]
    assert (whole["chainId"], whole["type"], whole["yParity"]) == ("0x7a69", "0x2", whole["v"])
    assert int(whole["gasPrice"], 16) == sent.effectiveGasPrice
    (receipt,) = chain.rpc("eth_getBlockReceipts", block["hash"])["result"]
    assert receipt == chain.rpc("eth_getTransactionReceipt", whole["hash"])["result"]
    assert chain.rpc("eth_getBlockByNumber", "0xffffffff", False)["result"] is None


def test_gas_used_is_each_transactions_own(chain: ChainProcess) -> None:
    """In a block of two the second's gas is not the sum: cumulativeGasUsed is."""
    chain.http.post("/faucet", json={"address": Account.create().address, "usdc": "1"})
    first, second = chain.rpc("eth_getBlockReceipts", "latest")["result"]
    assert first["gasUsed"] == first["cumulativeGasUsed"] == hex(21_000)
    assert int(second["cumulativeGasUsed"], 16) == 21_000 + int(second["gasUsed"], 16)
    assert (second["transactionIndex"], second["logs"][0]["transactionIndex"]) == ("0x1", "0x1")


def test_a_revert_is_told_with_its_data(chain: ChainProcess) -> None:
    """eth_call and eth_estimateGas answer code 3 with the contract's words and its raw data."""
    usdc = chain.usdc()
    transfer = {"from": Account.create().address, "to": usdc.address}
    transfer["data"] = usdc.encode_abi("transfer", args=[usdc.address, 1])
    for method in ("eth_call", "eth_estimateGas"):
        error = chain.rpc(method, transfer)["error"]
        assert (error["code"], error["message"][:18]) == (3, "execution reverted")
        assert "transfer amount exceeds balance" in error["message"]
        assert error["data"].startswith("0x08c379a0")
    with pytest.raises(ContractLogicError, match="transfer amount exceeds balance"):
        usdc.functions.transfer(usdc.address, 1).estimate_gas({"from": transfer["from"]})


def test_a_call_needs_no_ether(chain: ChainProcess) -> None:
    """Calls and estimates of an address without ether answer; an estimate of ether that it has not is refused."""
    poor, usdc = Account.create().address, chain.usdc()
    chain.http.post("/faucet", json={"address": poor, "usdc": "1"})
    call = {"from": poor, "to": usdc.address, "data": usdc.encode_abi("approve", args=[usdc.address, 1])}
    assert int(chain.rpc("eth_call", {**call, "from": Account.create().address})["result"], 16) == 1
    assert "insufficient funds" in chain.rpc("eth_estimateGas", {**call, "value": hex(10**24)})["error"]["message"]


def test_an_estimate_is_enough_and_not_much_more(chain: ChainProcess) -> None:
    """The transaction succeeds with the estimate as its limit, and a plain transfer is estimated to the unit."""
    payer, usdc = chain.funded("1"), chain.usdc()
    calldata = usdc.encode_abi("transfer", args=[Account.create().address, 1])
    estimate = chain.web3.eth.estimate_gas({"from": payer.address, "to": usdc.address, "data": calldata})
    receipt = chain.send(payer, to=usdc.address, data=calldata, gas=estimate)
    assert receipt.status == 1
    assert receipt.gasUsed <= estimate <= receipt.gasUsed * 1.1 + 5_000
    assert chain.web3.eth.estimate_gas({"from": payer.address, "to": payer.address, "value": 1}) == 21_000


def test_logs_are_found_by_address_topic_and_block(chain: ChainProcess) -> None:
    payer, sent = one_payment(chain)
    usdc, number = chain.usdc().address, hex(sent.blockNumber)
    transfer = Web3.keccak(text="Transfer(address,address,uint256)").to_0x_hex()
    payer_topic = "0x" + "00" * 12 + payer.address[2:].lower()
    everywhere: dict[str, Any] = {"fromBlock": "0x0", "toBlock": "latest"}

    def found(**criteria: Any) -> list[str]:
        logs = chain.rpc("eth_getLogs", criteria)["result"]
        return [log["blockNumber"] for log in logs if log["transactionHash"] == sent.transactionHash.to_0x_hex()]

    assert found(**everywhere, address=usdc, topics=[transfer, payer_topic]) == [number]
    assert found(**everywhere, address=[usdc.lower(), payer.address], topics=[[transfer, "0x" + "11" * 32]]) == [number]
    assert found(**everywhere, topics=[None, payer_topic]) == [number]
    assert found(blockHash=sent.blockHash.to_0x_hex()) == [number]
    assert found(fromBlock=number, toBlock=number) == [number]
    assert found(**everywhere, topics=[payer_topic]) == []
    assert found(**everywhere, topics=[transfer, None, None, None]) == []
    assert found(**everywhere, address=payer.address) == []
    assert found(fromBlock="0x0", toBlock=hex(sent.blockNumber - 1)) == []


def test_a_filter_tells_each_log_once(chain: ChainProcess) -> None:
    """What was before it is not news; what comes is told once; a forgotten filter is an error."""
    one_payment(chain)
    logs = chain.rpc("eth_newFilter", {"address": chain.usdc().address})["result"]
    blocks = chain.rpc("eth_newBlockFilter")["result"]
    assert chain.rpc("eth_getFilterChanges", logs)["result"] == []
    payer = chain.funded("0")
    usdc = chain.usdc()
    sent = chain.send(payer, to=usdc.address, data=usdc.encode_abi("approve", args=[usdc.address, 1]))
    news = chain.rpc("eth_getFilterChanges", logs)["result"]
    assert [log["transactionHash"] for log in news] == [sent.transactionHash.to_0x_hex()]
    assert chain.rpc("eth_getFilterChanges", logs)["result"] == []
    assert chain.rpc("eth_getFilterChanges", blocks)["result"][-1] == sent.blockHash.to_0x_hex()
    assert chain.rpc("eth_uninstallFilter", logs)["result"] is True
    assert "filter not found" in chain.rpc("eth_getFilterChanges", logs)["error"]["message"]


def test_fees_come_from_the_blocks(chain: ChainProcess) -> None:
    """feeHistory is oldest first, with one base fee more than blocks; the next block's base fee is the last one's."""
    _, sent = one_payment(chain)
    history = chain.rpc("eth_feeHistory", "0x2", "latest", [10, 50])["result"]
    assert int(history["oldestBlock"], 16) == sent.blockNumber - 1
    assert (len(history["baseFeePerGas"]), len(history["gasUsedRatio"]), len(history["reward"])) == (3, 2, 2)
    block = chain.rpc("eth_getBlockByNumber", "latest", False)["result"]
    assert history["baseFeePerGas"][1] == block["baseFeePerGas"]
    chain.rpc("evm_mine")
    following = chain.rpc("eth_getBlockByNumber", "latest", False)["result"]
    assert history["baseFeePerGas"][2] == following["baseFeePerGas"]


def test_web3_sends_a_transaction_that_it_filled_in_itself(chain: ChainProcess) -> None:
    """build_transaction asks for gas, fees, nonce and chain id; what it makes is mined."""
    payer, usdc = chain.funded("1"), chain.usdc()
    built = usdc.functions.transfer(Account.create().address, 1).build_transaction(
        {"from": payer.address, "nonce": chain.web3.eth.get_transaction_count(payer.address, "pending")}
    )
    sent = chain.web3.eth.send_raw_transaction(payer.sign_transaction(built).raw_transaction)
    assert chain.web3.eth.wait_for_transaction_receipt(sent).status == 1


def test_a_batch_is_answered_in_its_order(chain: ChainProcess) -> None:
    """Good and bad requests of one batch each have their answer."""
    batch = [
        {"jsonrpc": "2.0", "id": "a", "method": "eth_chainId"},
        {"jsonrpc": "2.0", "id": "b", "method": "eth_fillTransaction", "params": [{}]},
        {"jsonrpc": "2.0", "id": "c", "method": "eth_getBalance", "params": ["0x12", "latest"]},
        "nonsense",
    ]
    answers = chain.http.post("/", json=batch).json()
    assert [answer.get("id") for answer in answers] == ["a", "b", "c", None]
    assert answers[0]["result"] == "0x7a69"
    assert [answer["error"]["code"] for answer in answers[1:]] == [-32601, -32602, -32600]
    assert chain.http.post("/", content=b"{").json()["error"]["code"] == -32700


def test_a_number_that_no_block_has_is_refused(chain: ChainProcess) -> None:
    """Beyond what the database can hold: a refusal that names the parameter, not a failure of the database's."""
    error = chain.rpc("eth_getBlockByNumber", "0x" + "f" * 64, False)["error"]
    assert (error["code"], error["message"]) == (-32602, "invalid params: block is too large")


def test_the_constants_are_told(chain: ChainProcess) -> None:
    assert chain.rpc("net_version")["result"] == "31337"
    assert chain.rpc("eth_syncing")["result"] is False
    assert all(chain.rpc(method)["result"] == value for method, value in CONSTANTS.items())


KEYS = "from to data input value gas accessList address topics fromBlock toBlock blockHash blockNumber"
WORDS = [
    "latest",
    "pending",
    "earliest",
    "0x",
    "0x0",
    "0x1",
    "0X1",
    "0xg",
    "0x_1",
    "-0x1",
    "0x" + "f" * 64,
    "0x" + "f" * 70,
]
DATA = ["0x" + "ab" * 20, "0x" + "ab" * 32, "0x02c0", "0xf86c", "0x" + "ff" * 65]
NUMBERS = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8) | st.sampled_from(WORDS) | st.sampled_from(DATA),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=5),
    max_leaves=8,
)


@settings(max_examples=rounds(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.sampled_from(" ".join(METHODS).split()), params=st.lists(JSON, max_size=4) | JSON)
def test_nothing_that_is_sent_breaks_it(chain: ChainProcess, method: str, params: Any) -> None:
    """Any JSON as parameters is answered with a result or a refusal, never with an internal error or a 5xx."""
    answer = chain.http.post("/", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    assert answer.status_code == 200
    document = answer.json()
    assert ("result" in document) != ("error" in document)
    assert document.get("error", {}).get("code") != -32603, document
