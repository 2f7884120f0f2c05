"""py-evm's chain with our two differences: blocks of one second may share it, and the gas limit stays where it is."""

from __future__ import annotations

from typing import Any

import rlp
from eth.abc import BlockHeaderAPI
from eth.chains.base import Chain
from eth.db.atomic import AtomicDB
from eth.db.schema import SchemaV1
from eth.rlp.sedes import chain_gaps
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.blocks import PragueBlockHeader
from eth_typing import BlockNumber
from eth_utils.address import to_canonical_address

from .genesis import BASE_FEE_WEI, CHAIN_ID, GAS_LIMIT, TIMESTAMP_S, GenesisAccount
from .storage import NodeStore


class DevVM(PragueVM):
    @classmethod
    def validate_header(cls, header: BlockHeaderAPI, parent_header: BlockHeaderAPI) -> None:
        """Prague's rules, but a block may be as old as its parent: one block per transaction, whole seconds, and a
        strictly rising clock would run a second ahead of the wall's with every transaction."""
        if header.timestamp == parent_header.timestamp:
            parent_header = parent_header.copy(timestamp=parent_header.timestamp - 1)
        super().validate_header(header, parent_header)


class DevChain(Chain):
    chain_id: int = CHAIN_ID
    vm_configuration = ((BlockNumber(0), DevVM),)

    def pending_header(self, now_s: int) -> PragueBlockHeader:
        """The block to come, stamped `now_s`, or as its parent is where the wall clock was set back."""
        head = self.get_canonical_head()
        pending = self.create_header_from_parent(head)
        stamped = pending.copy(timestamp=max(head.timestamp, now_s), gas_limit=GAS_LIMIT)
        assert isinstance(stamped, PragueBlockHeader)
        return stamped

    def move_head_back(self, number: int) -> None:
        """Makes block `number` the head: py-evm's index of what is canonical changes, no block is deleted."""
        with self.chaindb.db.atomic_batch() as batch:
            for above in range(number + 1, self.get_canonical_head().block_number + 1):
                header = self.chaindb.get_canonical_block_header_by_number(BlockNumber(above))
                for transaction_hash in self.chaindb.get_block_transaction_hashes(header):
                    batch.delete(SchemaV1.make_transaction_hash_to_block_lookup_key(transaction_hash))
                batch.delete(SchemaV1.make_block_number_to_hash_lookup_key(BlockNumber(above)))
            target = self.chaindb.get_canonical_block_hash(BlockNumber(number))
            batch.set(SchemaV1.make_canonical_head_hash_lookup_key(), target)
            # No block is missing up to `number`, and all are from the next one on.
            gaps = rlp.encode(((), number + 1), sedes=chain_gaps)
            batch.set(SchemaV1.make_chain_gaps_lookup_key(), gaps)
            batch.set(SchemaV1.make_header_chain_gaps_lookup_key(), gaps)


def open_chain(nodes: NodeStore, chain_id: int) -> DevChain:
    chain = DevChain(AtomicDB(nodes))
    chain.chain_id = chain_id
    return chain


def make_chain(nodes: NodeStore, accounts: dict[str, GenesisAccount], chain_id: int) -> DevChain:
    """Writes block 0 and its state; inside a transaction."""
    state: Any = {
        to_canonical_address(address): {
            "balance": account.balance_wei,
            "nonce": 1 if account.code else 0,
            "code": account.code,
            "storage": account.storage,
        }
        for address, account in accounts.items()
    }
    header: Any = {
        "difficulty": 0,
        "gas_limit": GAS_LIMIT,
        "timestamp": TIMESTAMP_S,
        "base_fee_per_gas": BASE_FEE_WEI,
        "mix_hash": b"\0" * 32,
    }
    DevChain.from_genesis(AtomicDB(nodes), header, state)
    return open_chain(nodes, chain_id)


def unsigned_transaction(
    *,
    nonce: int,
    max_fee_per_gas: int,
    gas: int,
    to: bytes,
    value: int,
    data: bytes,
    access_list: Any = (),
    chain_id: int = CHAIN_ID,
) -> Any:
    """A type-2 transaction without a tip, to be signed or to be tried."""
    builder: Any = DevVM.get_transaction_builder()
    return builder.new_unsigned_dynamic_fee_transaction(
        chain_id=chain_id,
        nonce=nonce,
        max_priority_fee_per_gas=0,
        max_fee_per_gas=max_fee_per_gas,
        gas=gas,
        to=to,
        value=value,
        data=data,
        access_list=access_list,
    )
