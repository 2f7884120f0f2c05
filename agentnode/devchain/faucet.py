"""Hands out the chain's money: USDC minted, and ether for gas, to whoever asks."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from eth.constants import CREATE_CONTRACT_ADDRESS
from eth_abi.abi import encode
from eth_keys.datatypes import PrivateKey
from eth_typing import Address
from eth_utils.address import to_canonical_address, to_checksum_address
from eth_utils.crypto import keccak

from ledger.errors import InvalidInput

from .chain import DevelopmentChain
from .envelope import RpcError
from .genesis import ETHER, FAUCET, FAUCET_KEY, USDC
from .shapes import data
from .vm import unsigned_transaction

MINT = keccak(text="mint(address,uint256)")[:4]
USDC_DECIMALS = 6
MOST_USDC = Decimal(1_000_000_000)
GIFT_WEI = ETHER


@dataclass(frozen=True)
class Gift:
    """To whom, and how much USDC in atomic units; a gift of none is ether for gas only."""

    to: Address
    usdc_atomic: int


def read_gift(document: Any) -> Gift:
    """The gift that `{address, usdc}` asks for; raises InvalidInput."""
    if not isinstance(document, dict):
        raise InvalidInput("body", "must be a JSON object with address and usdc")
    return Gift(_read_address(document.get("address")), _read_usdc(document.get("usdc")))


def give(chain: DevelopmentChain, gift: Gift) -> dict[str, str]:
    """Mints and sends in one block; `tx_hash` is the mint's, or the ether's where no USDC was asked for."""
    nonce = chain.state_now().get_nonce(to_canonical_address(FAUCET))
    raws = [_signed(chain, nonce, gift.to, GIFT_WEI, b"")]
    if gift.usdc_atomic:
        minting = MINT + encode(["address", "uint256"], [gift.to, gift.usdc_atomic])
        raws.append(_signed(chain, nonce + 1, to_canonical_address(USDC), 0, minting))
    hashes = []
    for outcome in chain.send(raws):
        assert not isinstance(outcome, RpcError), f"the faucet's own transaction was refused: {outcome}"
        hashes.append(outcome)
    return {
        "tx_hash": data(hashes[-1]),
        "address": to_checksum_address(gift.to),
        "usdc": f"{Decimal(gift.usdc_atomic) / 10**USDC_DECIMALS:f}",
        "eth": f"{Decimal(GIFT_WEI) / ETHER:f}",
    }


def _signed(chain: DevelopmentChain, nonce: int, to: Address, value: int, calldata: bytes) -> bytes:
    unsigned = unsigned_transaction(
        nonce=nonce,
        max_fee_per_gas=2 * (chain.pending().base_fee_per_gas or 0) + 1,
        gas=100_000,
        to=to,
        value=value,
        data=calldata,
        chain_id=chain.chain_id,
    )
    raw: bytes = unsigned.as_signed_transaction(PrivateKey(FAUCET_KEY), chain.chain_id).encode()
    return raw


def _read_address(value: Any) -> Address:
    if not isinstance(value, str) or len(value) != 42 or not value.startswith("0x"):
        raise InvalidInput("address", "must be 0x and 40 hex digits")
    try:
        address = Address(bytes.fromhex(value[2:]))
    except ValueError:
        raise InvalidInput("address", "must be 0x and 40 hex digits") from None
    if address == CREATE_CONTRACT_ADDRESS or not any(address):
        raise InvalidInput("address", "must not be zero")
    return address


def _read_usdc(value: Any) -> int:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise InvalidInput("usdc", 'must be an amount of whole USDC, such as "25.5"')
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise InvalidInput("usdc", 'must be an amount of whole USDC, such as "25.5"') from None
    if not amount.is_finite() or not 0 <= amount <= MOST_USDC:
        raise InvalidInput("usdc", f"must be between 0 and {MOST_USDC}")
    atomic = amount * 10**USDC_DECIMALS
    if atomic != atomic.to_integral_value():
        raise InvalidInput("usdc", f"must have at most {USDC_DECIMALS} decimals")
    return int(atomic)
