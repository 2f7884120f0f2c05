"""Blocks, transactions, receipts and logs as Ethereum's JSON-RPC shows them (execution-apis, read strictly)."""

from __future__ import annotations

from typing import Any

import rlp
from eth.abc import BlockAPI, ReceiptAPI, SignedTransactionAPI
from eth.constants import CREATE_CONTRACT_ADDRESS
from eth.vm.forks.prague.blocks import PragueBlockHeader
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

Json = dict[str, Any]


def quantity(value: int) -> str:
    return hex(value)


def data(value: bytes | None) -> str:
    assert value is not None
    return "0x" + value.hex()


def word(value: int) -> str:
    return f"0x{value:064x}"


def bloom(value: int) -> str:
    return f"0x{value:0512x}"


def header_shape(header: PragueBlockHeader) -> Json:
    return {
        "number": quantity(header.block_number),
        "hash": data(header.hash),
        "parentHash": data(header.parent_hash),
        "nonce": data(header.nonce),
        "sha3Uncles": data(header.uncles_hash),
        "logsBloom": bloom(header.bloom),
        "transactionsRoot": data(header.transaction_root),
        "stateRoot": data(header.state_root),
        "receiptsRoot": data(header.receipt_root),
        "miner": to_checksum_address(header.coinbase),
        "difficulty": quantity(header.difficulty),
        "totalDifficulty": "0x0",
        "extraData": data(header.extra_data),
        "gasLimit": quantity(header.gas_limit),
        "gasUsed": quantity(header.gas_used),
        "timestamp": quantity(header.timestamp),
        "mixHash": data(header.mix_hash),
        "baseFeePerGas": quantity(header.base_fee_per_gas or 0),
        "withdrawalsRoot": data(header.withdrawals_root),
        "blobGasUsed": quantity(header.blob_gas_used),
        "excessBlobGas": quantity(header.excess_blob_gas),
        "parentBeaconBlockRoot": data(header.parent_beacon_block_root),
        "requestsHash": data(header.requests_hash),
        "uncles": [],
        "withdrawals": [],
    }


def block_shape(block: BlockAPI) -> Json:
    """A block with its transactions' hashes; `transactions` is replaced where whole ones are asked for."""
    assert isinstance(block.header, PragueBlockHeader)
    shape = header_shape(block.header)
    shape["size"] = quantity(len(rlp.encode(block)))
    shape["transactions"] = [data(transaction.hash) for transaction in block.transactions]
    return shape


def effective_gas_price(transaction: SignedTransactionAPI, base_fee_wei: int) -> int:
    return min(transaction.max_fee_per_gas, base_fee_wei + transaction.max_priority_fee_per_gas)


def transaction_shape(transaction: SignedTransactionAPI, block: BlockAPI, position: int) -> Json:
    kind = transaction.type_id or 0
    shape: Json = {
        "blockHash": data(block.hash),
        "blockNumber": quantity(block.number),
        "transactionIndex": quantity(position),
        "hash": data(transaction.hash),
        "type": quantity(kind),
        "chainId": quantity(transaction.chain_id or 0),
        "nonce": quantity(transaction.nonce),
        "from": to_checksum_address(transaction.sender),
        "to": None if transaction.to == CREATE_CONTRACT_ADDRESS else to_checksum_address(transaction.to),
        "value": quantity(transaction.value),
        "gas": quantity(transaction.gas),
        "gasPrice": quantity(effective_gas_price(transaction, block.header.base_fee_per_gas or 0)),
        "input": data(transaction.data),
        "v": quantity(getattr(transaction, "v", transaction.y_parity)),
        "r": quantity(transaction.r),
        "s": quantity(transaction.s),
    }
    if kind >= 1:
        shape["yParity"] = quantity(transaction.y_parity)
        shape["accessList"] = [
            {"address": to_checksum_address(address), "storageKeys": [word(slot) for slot in slots]}
            for address, slots in transaction.access_list
        ]
    if kind >= 2:
        shape["maxFeePerGas"] = quantity(transaction.max_fee_per_gas)
        shape["maxPriorityFeePerGas"] = quantity(transaction.max_priority_fee_per_gas)
    if kind == 4:
        shape["authorizationList"] = [
            {
                "chainId": quantity(entry.chain_id),
                "address": to_checksum_address(entry.address),
                "nonce": quantity(entry.nonce),
                "yParity": quantity(entry.y_parity),
                "r": quantity(entry.r),
                "s": quantity(entry.s),
            }
            for entry in transaction.authorization_list
        ]
    return shape


def receipt_shapes(block: BlockAPI, receipts: tuple[ReceiptAPI, ...]) -> list[Json]:
    """The receipts of a block, in order, each with its logs."""
    shapes = []
    gas_before = 0
    log_index = 0
    for position, (transaction, receipt) in enumerate(zip(block.transactions, receipts, strict=True)):
        place = {
            "transactionHash": data(transaction.hash),
            "transactionIndex": quantity(position),
            "blockHash": data(block.hash),
            "blockNumber": quantity(block.number),
        }
        logs = []
        for log in receipt.logs:
            logs.append(
                {
                    **place,
                    "address": to_checksum_address(log.address),
                    "topics": [word(topic) for topic in log.topics],
                    "data": data(log.data),
                    "blockTimestamp": quantity(block.header.timestamp),
                    "logIndex": quantity(log_index),
                    "removed": False,
                }
            )
            log_index += 1
        creates = transaction.to == CREATE_CONTRACT_ADDRESS
        shapes.append(
            {
                **place,
                "type": quantity(transaction.type_id or 0),
                "status": "0x1" if receipt.state_root == b"\x01" else "0x0",
                "from": to_checksum_address(transaction.sender),
                "to": None if creates else to_checksum_address(transaction.to),
                "contractAddress": _created_address(transaction) if creates else None,
                "cumulativeGasUsed": quantity(receipt.gas_used),
                "gasUsed": quantity(receipt.gas_used - gas_before),
                "effectiveGasPrice": quantity(effective_gas_price(transaction, block.header.base_fee_per_gas or 0)),
                "logs": logs,
                "logsBloom": bloom(receipt.bloom),
            }
        )
        gas_before = receipt.gas_used
    return shapes


def _created_address(transaction: SignedTransactionAPI) -> str:
    return to_checksum_address(keccak(rlp.encode([transaction.sender, transaction.nonce]))[12:])
