"""Ethereum's signatures over a digest: one accepted form (65 bytes, low s, v of 27 or 28) and whose they are."""

from __future__ import annotations

from trust.errors import SignatureInvalid

ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


def normalise(signature: str | bytes) -> bytes:
    """The 65 bytes r, s, v with v of 27 or 28 (0 and 1 are raised to it).

    Raises SignatureInvalid for every other length and v, and for a high s (EIP-2): others cannot respell a signature.
    It is still no key, since its signer can make many of one digest.
    """
    if isinstance(signature, str):
        try:
            raw = bytes.fromhex(signature.removeprefix("0x")) if signature.isascii() else b""
        except ValueError:
            raise SignatureInvalid("the signature is not hexadecimal") from None
    else:
        raw = bytes(signature)
    if len(raw) != 65:
        raise SignatureInvalid(f"the signature has {len(raw)} bytes, not 65")
    r, s, v = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:64], "big"), raw[64]
    v = v + 27 if v in (0, 1) else v
    if v not in (27, 28):
        raise SignatureInvalid("the signature's v is not 27 or 28")
    if not 0 < r < ORDER or not 0 < s <= ORDER // 2:
        raise SignatureInvalid("the signature's s is in the upper half, or r or s is out of range")
    return raw[:64] + bytes([v])


def recover(digest: bytes, signature: str | bytes) -> str:
    """The address (EIP-55) whose key signed the digest. Raises SignatureInvalid where there is none."""
    from coincurve import PublicKey
    from eth_utils.address import to_checksum_address
    from eth_utils.crypto import keccak

    raw = normalise(signature)
    try:
        key = PublicKey.from_signature_and_message(raw[:64] + bytes([raw[64] - 27]), digest, hasher=None)
    except Exception as problem:  # coincurve raises a bare Exception where no key gives this signature
        raise SignatureInvalid("no key gives this signature") from problem
    return to_checksum_address(keccak(key.format(compressed=False)[1:])[-20:])


def same_address(one: str, other: str) -> bool:
    return one.lower() == other.lower()
