"""One block in the making: transactions are taken or refused one by one, then it is sealed."""

from __future__ import annotations

import rlp
from eth.abc import BlockAPI, BlockHeaderAPI, ReceiptAPI, SignedTransactionAPI
from eth.exceptions import UnrecognizedTransactionType
from eth_utils.exceptions import ValidationError

from .envelope import REFUSED, RpcError
from .vm import DevChain, DevVM

BLOB_TRANSACTION = 3


def decode_transaction(raw: bytes, chain_id: int) -> SignedTransactionAPI:
    """The transaction that `raw` is. Raises RpcError for what is none, or is signed for another chain: py-evm itself
    takes any chain id."""
    try:
        decoded = DevVM.get_transaction_builder().decode(raw)
        decoded.validate()
        decoded.check_signature_validity()
    except UnrecognizedTransactionType as error:
        raise RpcError(REFUSED, "transaction type not supported") from error
    except (ValidationError, rlp.exceptions.RLPException, TypeError, ValueError, IndexError) as error:
        raise RpcError(REFUSED, f"invalid transaction: {error}") from error
    if decoded.type_id == BLOB_TRANSACTION:
        raise RpcError(REFUSED, "transaction type not supported: blobs")
    if decoded.chain_id is None:
        raise RpcError(REFUSED, "only replay-protected (EIP-155) transactions allowed over RPC")
    if decoded.chain_id != chain_id:
        raise RpcError(REFUSED, f"invalid chain id for signer: have {decoded.chain_id} want {chain_id}")
    return decoded


class BlockInMaking:
    def __init__(self, chain: DevChain, header: BlockHeaderAPI) -> None:
        self._chain = chain
        self._vm = chain.get_vm(header)
        self._header = header
        self._receipts: list[ReceiptAPI] = []
        self.transactions: list[SignedTransactionAPI] = []

    def has_room(self, transaction: SignedTransactionAPI) -> bool:
        return self._header.gas_used + transaction.gas <= self._header.gas_limit

    def nonce(self, address: bytes) -> int:
        return self._vm.state.get_nonce(address)  # type: ignore[arg-type]

    def take(self, transaction: SignedTransactionAPI) -> None:
        """Executes it on the block so far; raises RpcError, in geth's words, where no block may hold it."""
        self._check(transaction)
        try:
            receipt, _ = self._vm.apply_transaction(self._header, transaction)
        except ValidationError as error:
            raise RpcError(REFUSED, str(error)) from error
        self._header = self._vm.add_receipt_to_header(self._header, receipt)
        self._receipts.append(receipt)
        self.transactions.append(transaction)

    def seal(self) -> tuple[BlockAPI, tuple[ReceiptAPI, ...]]:
        """Writes the block and its state as the chain's new head; inside a transaction of the database."""
        filled = self._vm.set_block_transactions_and_withdrawals(
            self._vm.get_block(), self._header, self.transactions, self._receipts
        )
        block = self._vm.mine_block(filled).block
        self._chain.chaindb.persist_block(block)
        return block, tuple(self._receipts)

    def _check(self, transaction: SignedTransactionAPI) -> None:
        state = self._vm.state
        next_nonce = state.get_nonce(transaction.sender)
        if transaction.nonce != next_nonce:
            # Nothing waits here: a transaction whose turn has not come is refused, not queued.
            side = "low" if transaction.nonce < next_nonce else "high"
            raise RpcError(REFUSED, f"nonce too {side}: next nonce {next_nonce}, tx nonce {transaction.nonce}")
        if transaction.gas > self._header.gas_limit:
            raise RpcError(REFUSED, "exceeds block gas limit")
        if transaction.gas < transaction.intrinsic_gas:
            raise RpcError(REFUSED, f"intrinsic gas too low: have {transaction.gas}, want {transaction.intrinsic_gas}")
        base_fee = self._header.base_fee_per_gas or 0
        if transaction.max_fee_per_gas < base_fee:
            raise RpcError(
                REFUSED,
                "max fee per gas less than block base fee: "
                f"maxFeePerGas: {transaction.max_fee_per_gas}, baseFee: {base_fee}",
            )
        cost = transaction.value + transaction.gas * transaction.max_fee_per_gas
        balance = state.get_balance(transaction.sender)
        if balance < cost:
            raise RpcError(REFUSED, f"insufficient funds for gas * price + value: have {balance} want {cost}")
