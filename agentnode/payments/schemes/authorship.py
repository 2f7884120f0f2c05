"""Whether an address signed: a key's signature by recovery, a contract wallet's by asking the chain (EIP-1271).

For payments that are sent again: their nonce is used and public by then, so the library's check says no, and who only
read the nonce on chain must not get what it bought.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from agentnode.payments.schemes.payload import Authorization
from ledger.money import Asset
from trust.chain import ChainView
from trust.errors import SignatureInvalid
from trust.networks import chain_id_of
from trust.signatures import secp256k1

_KEY_SIGNATURE = 2 + 2 * 65


async def signed_by(chain: ChainView, address: str, digest: bytes, signature: str) -> bool:
    """Raises ChainUnavailable where only the chain could tell."""
    if len(signature) == _KEY_SIGNATURE:
        with contextlib.suppress(SignatureInvalid):
            if secp256k1.same_address(secp256k1.recover(digest, signature), address):
                return True
    try:
        raw = bytes.fromhex(signature.removeprefix("0x"))
    except ValueError:
        return False
    return await chain.is_valid_signature(address, digest, raw)


async def signed_any(chain: ChainView, address: str, digests: Iterable[bytes], signature: str) -> bool:
    """Whether one of them, each naming another key of the node's: receipts outlive a rotation. As `signed_by`."""
    for digest in digests:
        if await signed_by(chain, address, digest, signature):
            return True
    return False


def authorization_digest(offered: Authorization, asset: Asset) -> bytes:
    """What the payer signed of a TransferWithAuthorization (EIP-3009) in this token."""
    from eth_utils.address import to_checksum_address
    from x402.mechanisms.evm.eip712 import hash_eip3009_authorization
    from x402.mechanisms.evm.types import ExactEIP3009Authorization

    signed = ExactEIP3009Authorization(
        from_address=to_checksum_address(offered.payer),
        to=to_checksum_address(offered.payee),
        value=str(offered.amount_atomic),
        valid_after=str(offered.valid_after_s),
        valid_before=str(offered.valid_before_s),
        nonce=offered.nonce,
    )
    chain_id, token = chain_id_of(offered.network), to_checksum_address(asset.address)
    return bytes(hash_eip3009_authorization(signed, chain_id, token, asset.name, asset.version))
