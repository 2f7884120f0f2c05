"""The table of JSON-RPC methods that the chain answers (execution-apis; evm_* as Hardhat and Anvil have them)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eth_utils.crypto import keccak

from . import params as read
from .chain import DevelopmentChain
from .execution import call, estimate_gas
from .fees import TIP_WEI, fee_history, gas_price
from .filters import Filters, get_logs
from .reading import block_by_hash, block_by_reference, state_at, with_transactions
from .shapes import data, quantity, word

Params = list[Any]
Method = Callable[[Params], Any]

# Answered without asking the chain: they are asked before almost every other call.
CONSTANTS: dict[str, Any] = {
    "net_listening": True,
    "net_peerCount": "0x0",
    "web3_clientVersion": "agentnode-devchain/1",
    "eth_syncing": False,
    "eth_accounts": [],
    "eth_mining": True,
    "eth_maxPriorityFeePerGas": quantity(TIP_WEI),
}


class Methods:
    """All but eth_sendRawTransaction, which waits for its block; to be called on the chain's thread."""

    def __init__(self, chain: DevelopmentChain) -> None:
        self._chain = chain
        self._filters = Filters(chain)
        self.constants = {
            **CONSTANTS,
            "eth_chainId": quantity(chain.chain_id),
            "net_version": str(chain.chain_id),
        }
        self.table: dict[str, Method] = {
            "eth_blockNumber": lambda _: quantity(chain.head.block_number),
            "eth_gasPrice": lambda _: quantity(gas_price(chain)),
            "eth_feeHistory": self._fee_history,
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getBlockReceipts": self._block_receipts,
            "eth_getBlockTransactionCountByNumber": self._transaction_count_by_number,
            "eth_getBlockTransactionCountByHash": self._transaction_count_by_hash,
            "eth_getTransactionByHash": lambda p: chain.records.transaction(self._hash(p)),
            "eth_getTransactionReceipt": lambda p: chain.records.receipt(self._hash(p)),
            "eth_getTransactionByBlockNumberAndIndex": self._transaction_in_block,
            "eth_getTransactionByBlockHashAndIndex": self._transaction_in_block_by_hash,
            "eth_getBalance": lambda p: quantity(self._state(p, 1).get_balance(self._address(p))),
            "eth_getCode": lambda p: data(self._state(p, 1).get_code(self._address(p))),
            "eth_getTransactionCount": lambda p: quantity(self._state(p, 1).get_nonce(self._address(p))),
            "eth_getStorageAt": self._storage_at,
            "eth_call": lambda p: data(call(self._state(p, 1), read.call_request(read.required(p, 0, "call")))),
            "eth_estimateGas": self._estimate_gas,
            "eth_getLogs": lambda p: get_logs(chain, read.required(p, 0, "filter")),
            "eth_newFilter": lambda p: quantity(self._filters.new(read.required(p, 0, "filter"))),
            "eth_newBlockFilter": lambda _: quantity(self._filters.new(None)),
            "eth_getFilterChanges": lambda p: self._filters.changes(self._identity(p)),
            "eth_getFilterLogs": lambda p: self._filters.logs(self._identity(p)),
            "eth_uninstallFilter": lambda p: self._filters.remove(self._identity(p)),
            "web3_sha3": lambda p: data(keccak(read.data(read.required(p, 0, "data"), "data"))),
            "evm_snapshot": lambda _: quantity(chain.snapshot()),
            "evm_revert": lambda p: chain.revert(self._identity(p)),
            "evm_mine": self._mine,
        }

    def _state(self, params: Params, position: int) -> Any:
        return state_at(self._chain, read.optional(params, position, "latest"))

    def _address(self, params: Params) -> Any:
        return read.address(read.required(params, 0, "address"), "address")

    def _hash(self, params: Params) -> bytes:
        return read.data(read.required(params, 0, "hash"), "hash", 32)

    def _identity(self, params: Params) -> int:
        return read.quantity(read.required(params, 0, "id"), "id")

    def _fee_history(self, params: Params) -> Any:
        count = read.quantity(read.required(params, 0, "blockCount"), "blockCount")
        return fee_history(self._chain, count, read.optional(params, 1, "latest"), read.optional(params, 2, []))

    def _block_by_number(self, params: Params) -> Any:
        block = block_by_reference(self._chain, read.required(params, 0, "block"))
        return with_transactions(self._chain, block, read.flag(read.optional(params, 1, False), "full"))

    def _block_by_hash(self, params: Params) -> Any:
        block = block_by_hash(self._chain, self._hash(params))
        return with_transactions(self._chain, block, read.flag(read.optional(params, 1, False), "full"))

    def _block_receipts(self, params: Params) -> Any:
        reference = read.required(params, 0, "block")
        if isinstance(reference, str) and len(reference) == 66:
            block = block_by_hash(self._chain, read.data(reference, "block", 32))
        else:
            block = block_by_reference(self._chain, reference)
        return None if block is None else self._chain.records.receipts_of(int(block["number"], 16))

    def _transaction_count_by_number(self, params: Params) -> Any:
        block = block_by_reference(self._chain, read.required(params, 0, "block"))
        return None if block is None else quantity(len(block["transactions"]))

    def _transaction_count_by_hash(self, params: Params) -> Any:
        block = block_by_hash(self._chain, self._hash(params))
        return None if block is None else quantity(len(block["transactions"]))

    def _transaction_in_block(self, params: Params) -> Any:
        return self._nth(block_by_reference(self._chain, read.required(params, 0, "block")), params)

    def _transaction_in_block_by_hash(self, params: Params) -> Any:
        return self._nth(block_by_hash(self._chain, self._hash(params)), params)

    def _nth(self, block: Any, params: Params) -> Any:
        position = read.quantity(read.required(params, 1, "index"), "index")
        if block is None or position >= len(block["transactions"]):
            return None
        return self._chain.records.transaction(bytes.fromhex(block["transactions"][position][2:]))

    def _storage_at(self, params: Params) -> Any:
        slot = read.quantity(read.required(params, 1, "slot"), "slot")
        return word(self._state(params, 2).get_storage(self._address(params), slot))

    def _estimate_gas(self, params: Params) -> Any:
        request = read.call_request(read.required(params, 0, "call"))
        return quantity(estimate_gas(self._state(params, 1), request))

    def _mine(self, params: Params) -> Any:
        self._chain.mine()
        return "0x0"
