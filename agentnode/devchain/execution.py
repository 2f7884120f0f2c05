"""Calls and gas estimates: a message run on a state whose changes are thrown away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth.abc import ComputationAPI, StateAPI
from eth.constants import CREATE_CONTRACT_ADDRESS
from eth.exceptions import InsufficientFunds, Revert
from eth.vm.message import Message
from eth.vm.spoof import SpoofTransaction
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_typing import Address
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from .envelope import REFUSED, REVERTED, RpcError
from .genesis import GAS_LIMIT
from .vm import unsigned_transaction

REASON = keccak(text="Error(string)")[:4]
PANIC = keccak(text="Panic(uint256)")[:4]
# More than any gas costs; lent to the sender of an estimate, who need not own any ether.
GAS_MONEY_WEI = 2**128


@dataclass(frozen=True)
class CallRequest:
    """Who calls what with which ether and data; `to` is None for a deployment."""

    sender: Address
    to: Address | None
    value: int
    data: bytes
    gas: int | None
    access_list: tuple[tuple[Address, tuple[int, ...]], ...] = ()


def call(state: StateAPI, request: CallRequest) -> bytes:
    """What the message returns. Nobody pays for gas. Raises RpcError (3 with the revert's data) where it fails."""
    gas = min(request.gas or GAS_LIMIT, GAS_LIMIT)
    context = state.get_transaction_context_class()(gas_price=0, origin=request.sender)
    if request.to is None:
        created = Address(keccak(request.sender + state.get_nonce(request.sender).to_bytes(8, "big"))[12:])
        message = Message(
            gas=gas,
            to=CREATE_CONTRACT_ADDRESS,
            sender=request.sender,
            value=request.value,
            data=b"",
            code=request.data,
            create_address=created,
        )
        computation = state.computation_class.apply_create_message(state, message, context)
    else:
        executor: Any = state.get_transaction_executor()
        code, delegate = executor.get_code_at_address(request.to)
        message = Message(
            gas=gas,
            to=request.to,
            sender=request.sender,
            value=request.value,
            data=request.data,
            code=code,
            code_address=delegate,
        )
        computation = state.computation_class.apply_message(state, message, context)
    _raise_failure(computation)
    return computation.output


def estimate_gas(state: StateAPI, request: CallRequest) -> int:
    """A gas limit with which the transaction succeeds, a little above the least (or a block's); else RpcError."""
    if request.value > state.get_balance(request.sender):
        raise RpcError(REFUSED, "insufficient funds for transfer")
    most = min(request.gas or GAS_LIMIT, GAS_LIMIT)
    used, refunded = _gas_with_limit(state, request, most)
    # Inner calls keep 1/64 of what is left, and a refund comes only at the end (geth estimates alike).
    likely = min((used + refunded + 2_300) * 64 // 63, most)
    try:
        _gas_with_limit(state, request, likely)
    except RpcError:
        return most
    return likely if request.data or _has_code(state, request) else used


def _has_code(state: StateAPI, request: CallRequest) -> bool:
    return request.to is None or state.get_code(request.to) != b""


def _gas_with_limit(state: StateAPI, request: CallRequest, gas: int) -> tuple[int, int]:
    """Gas used, and refunded out of it, by the request run as a transaction of that limit."""
    snapshot = state.snapshot()
    state.set_balance(request.sender, state.get_balance(request.sender) + GAS_MONEY_WEI)
    unsigned = unsigned_transaction(
        nonce=state.get_nonce(request.sender),
        max_fee_per_gas=state.base_fee,
        gas=gas,
        to=request.to if request.to is not None else CREATE_CONTRACT_ADDRESS,
        value=request.value,
        data=request.data,
        access_list=request.access_list,
    )
    transaction: Any = SpoofTransaction(unsigned, from_=request.sender)
    try:
        if gas < unsigned.intrinsic_gas:
            raise RpcError(REFUSED, f"intrinsic gas too low: have {gas}, want {unsigned.intrinsic_gas}")
        computation = state.apply_transaction(transaction)
        _raise_failure(computation)
        # The floor is what EIP-7623 asks on top for much data and little work.
        used = gas - computation.get_gas_remaining() + computation.data_floor_gas
        return used, computation.get_gas_refund()
    except ValidationError as error:
        raise RpcError(REFUSED, str(error)) from error
    finally:
        state.revert(snapshot)


def _raise_failure(computation: ComputationAPI) -> None:
    if computation.is_success:
        return
    error = computation.error
    if isinstance(error, Revert):
        said = bytes(computation.output)
        reason = _reason(said)
        raise RpcError(REVERTED, f"execution reverted: {reason}" if reason else "execution reverted", "0x" + said.hex())
    if isinstance(error, InsufficientFunds):
        raise RpcError(REFUSED, "insufficient funds for transfer")
    raise RpcError(REFUSED, f"{type(error).__name__}: {error}")


def _reason(said: bytes) -> str | None:
    try:
        if said[:4] == REASON:
            return str(decode(["string"], said[4:])[0])
        if said[:4] == PANIC:
            return f"panic code 0x{decode(['uint256'], said[4:])[0]:02x}"
    except (DecodingError, UnicodeDecodeError):
        return None
    return None
