"""did:pkh for EVM accounts: `did:pkh:eip155:<chain>:<lower-case address>` (docs/mandates.md)."""

from __future__ import annotations

import re

from ledger.errors import InvalidInput

_FORM = re.compile(r"did:pkh:eip155:([1-9][0-9]{0,18}):(0x[0-9a-f]{40})", re.ASCII)
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)


def encode(chain_id: int, address: str) -> str:
    """The DID of an account; the address may be of any case."""
    if not _ADDRESS.fullmatch(address):
        raise InvalidInput("address", "must be 0x and forty hex digits")
    return f"did:pkh:eip155:{chain_id}:{address.lower()}"


def decode(did: str, param: str = "did") -> tuple[int, str]:
    """(chain id, lower-case address). Raises InvalidInput naming `param` for every other spelling."""
    match = _FORM.fullmatch(did)
    if match is None:
        raise InvalidInput(param, "must be did:pkh:eip155:<chain>:<lower-case address>")
    return int(match[1]), match[2]


def is_pkh(did: str) -> bool:
    return _FORM.fullmatch(did) is not None
