"""The canonical blocks, transactions, receipts and logs, as they are answered: written with the block, read by key.

py-evm could derive all of it again, at a cost that grows with the chain, and its transaction index outlives a
revert; here a revert deletes what is no longer canonical, in the transaction that moves the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from eth.abc import BlockAPI, ReceiptAPI

from .shapes import Json, block_shape, receipt_shapes, transaction_shape
from .storage import ChainFile


@dataclass(frozen=True)
class LogQuery:
    """Logs of blocks first..last; of any of `addresses` (empty: of all); each topic one of its alternatives or None."""

    first_block: int
    last_block: int
    addresses: tuple[bytes, ...]
    topics: tuple[tuple[bytes, ...] | None, ...]


class Records:
    def __init__(self, file: ChainFile) -> None:
        self._execute = file.execute

    def add(self, block: BlockAPI, receipts: tuple[ReceiptAPI, ...]) -> None:
        """Inside the transaction that writes the block's state."""
        self._execute(
            "INSERT INTO blocks VALUES (?, ?, ?)", (block.number, block.hash, orjson.dumps(block_shape(block)))
        )
        for position, (transaction, receipt) in enumerate(
            zip(block.transactions, receipt_shapes(block, receipts), strict=True)
        ):
            body = orjson.dumps(transaction_shape(transaction, block, position))
            self._execute(
                "INSERT INTO transactions VALUES (?, ?, ?, ?, ?)",
                (transaction.hash, block.number, position, body, orjson.dumps(receipt)),
            )
            for log in receipt["logs"]:
                topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
                self._execute(
                    "INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        block.number,
                        int(log["logIndex"], 16),
                        bytes.fromhex(log["address"][2:]),
                        *topics,
                        *[None] * (4 - len(topics)),
                        orjson.dumps(log),
                    ),
                )

    def forget_after(self, number: int) -> None:
        """Inside the transaction that moves the head back to `number`."""
        self._execute("DELETE FROM blocks WHERE number > ?", (number,))
        self._execute("DELETE FROM transactions WHERE block_number > ?", (number,))
        self._execute("DELETE FROM logs WHERE block_number > ?", (number,))

    def has_blocks(self) -> bool:
        return self._execute("SELECT 1 FROM blocks").fetchone() is not None

    def block_by_number(self, number: int) -> Json | None:
        return self._one("SELECT body FROM blocks WHERE number = ?", number)

    def block_by_hash(self, block_hash: bytes) -> Json | None:
        return self._one("SELECT body FROM blocks WHERE hash = ?", block_hash)

    def transaction(self, transaction_hash: bytes) -> Json | None:
        return self._one("SELECT body FROM transactions WHERE hash = ?", transaction_hash)

    def receipt(self, transaction_hash: bytes) -> Json | None:
        return self._one("SELECT receipt FROM transactions WHERE hash = ?", transaction_hash)

    def transactions_of(self, number: int) -> list[Json]:
        return self._all("SELECT body FROM transactions WHERE block_number = ? ORDER BY position", [number])

    def receipts_of(self, number: int) -> list[Json]:
        return self._all("SELECT receipt FROM transactions WHERE block_number = ? ORDER BY position", [number])

    def blocks_between(self, first: int, last: int) -> list[Json]:
        return self._all("SELECT body FROM blocks WHERE number BETWEEN ? AND ? ORDER BY number", [first, last])

    def logs(self, query: LogQuery) -> list[Json]:
        conditions = ["block_number BETWEEN ? AND ?"]
        values: list[Any] = [query.first_block, query.last_block]
        if query.addresses:
            conditions.append(f"address IN ({_marks(query.addresses)})")
            values.extend(query.addresses)
        for position, alternatives in enumerate(query.topics):
            if alternatives is None:
                # Any topic, but there must be one at this place.
                conditions.append(f"topic{position} IS NOT NULL")
            else:
                conditions.append(f"topic{position} IN ({_marks(alternatives)})")
                values.extend(alternatives)
        where = " AND ".join(conditions)
        return self._all(f"SELECT body FROM logs WHERE {where} ORDER BY block_number, log_index", values)

    def _one(self, statement: str, key: int | bytes) -> Json | None:
        row = self._execute(statement, (key,)).fetchone()
        return None if row is None else orjson.loads(row[0])

    def _all(self, statement: str, values: Sequence[Any]) -> list[Json]:
        return [orjson.loads(row[0]) for row in self._execute(statement, values)]


def _marks(values: Sequence[bytes]) -> str:
    return ", ".join("?" * len(values))
