"""The chain: raw transactions become blocks, snapshots are taken and gone back to. For one thread only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from eth.abc import BlockHeaderAPI, StateAPI
from eth.vm.forks.prague.blocks import PragueBlockHeader
from eth_typing import BlockNumber

from .blocks import BlockInMaking, decode_transaction
from .envelope import RpcError
from .genesis import CHAIN_ID, fingerprint, genesis_accounts
from .records import Records
from .storage import ChainFile
from .vm import DevChain, DevVM, make_chain, open_chain

# A block's cost is linear in them; it bounds how long the first sender of a block waits for the last.
MOST_TRANSACTIONS = 64


class DevelopmentChain:
    def __init__(self, file: ChainFile, chain: DevChain, now_s: Callable[[], int]) -> None:
        self._file = file
        self._chain = chain
        self._now_s = now_s
        self._snapshots: dict[int, int] = {}
        self._next_snapshot = 1
        self.records = Records(file)

    @classmethod
    def open(cls, path: Path, now_s: Callable[[], int], chain_id: int = CHAIN_ID) -> DevelopmentChain:
        """The chain of that file, made where there is none; `now_s` is the wall clock in Unix seconds.

        Raises GenesisMismatch or ChainFolderInUse.
        """
        accounts = genesis_accounts()
        file = ChainFile(path, fingerprint(accounts, chain_id))
        records = Records(file)
        if records.has_blocks():
            return cls(file, open_chain(file.nodes, chain_id), now_s)
        with file.transaction():
            chain = make_chain(file.nodes, accounts, chain_id)
            records.add(DevVM.get_block_class()(chain.get_canonical_head(), [], []), ())
        return cls(file, chain, now_s)

    def close(self) -> None:
        self._file.close()

    @property
    def chain_id(self) -> int:
        return self._chain.chain_id

    @property
    def head(self) -> BlockHeaderAPI:
        return self._chain.get_canonical_head()

    def pending(self) -> PragueBlockHeader:
        """The header of the block that a transaction sent now would get."""
        return self._chain.pending_header(self._now_s())

    def state_after(self, number: int) -> StateAPI:
        """The world after block `number`, at its own time; what is changed in it is lost."""
        return self._chain.get_vm(self._chain.get_canonical_block_header_by_number(BlockNumber(number))).state

    def state_now(self) -> StateAPI:
        """The world after the head, at this moment of the wall clock; what is changed in it is lost."""
        head = self.head
        return self._chain.get_vm(head.copy(timestamp=max(head.timestamp, self._now_s()))).state

    def send(self, raws: Sequence[bytes]) -> list[bytes | RpcError]:
        """Makes as many blocks as these raw transactions need; each one's hash, or its refusal, in their order."""
        outcomes: list[bytes | RpcError] = []
        while len(outcomes) < len(raws):
            outcomes.extend(self._make_block(raws[len(outcomes) :][:MOST_TRANSACTIONS]))
        return outcomes

    def mine(self, count: int = 1) -> None:
        """Makes empty blocks."""
        for _ in range(count):
            with self._file.transaction():
                self._seal(BlockInMaking(self._chain, self.pending()))

    def snapshot(self) -> int:
        """An id for `revert`; it is forgotten when used, when an older one is, and when the process ends."""
        identity = self._next_snapshot
        self._next_snapshot += 1
        self._snapshots[identity] = self.head.block_number
        return identity

    def revert(self, identity: int) -> bool:
        """Goes back to the snapshot: later blocks, their receipts and logs are gone. False where there is none."""
        if identity not in self._snapshots:
            return False
        number = self._snapshots[identity]
        self._snapshots = {kept: at for kept, at in self._snapshots.items() if kept < identity}
        with self._file.transaction():
            self._chain.move_head_back(number)
            self.records.forget_after(number)
        return True

    def _make_block(self, raws: Sequence[bytes]) -> list[bytes | RpcError]:
        """One block with the first of these that it holds; the outcomes of those that were looked at, at least one."""
        outcomes: list[bytes | RpcError] = []
        with self._file.transaction():
            block = BlockInMaking(self._chain, self.pending())
            for raw in raws:
                try:
                    decoded = decode_transaction(raw, self.chain_id)
                    if block.transactions and not block.has_room(decoded):
                        break
                    block.take(decoded)
                    outcomes.append(decoded.hash)
                except RpcError as refusal:
                    outcomes.append(refusal)
            if block.transactions:
                self._seal(block)
        return outcomes

    def _seal(self, block: BlockInMaking) -> None:
        sealed, receipts = block.seal()
        self.records.add(sealed, receipts)
