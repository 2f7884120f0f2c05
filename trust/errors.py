"""The leaves of the error tree that trust adds: what cannot be proven, read or reached.

AgentNodeError
+-- SignatureInvalid        403     SIGNATURE_INVALID: not signed by whom it says, or not in the one accepted form
+-- AddressRefused          400     ADDRESS_REFUSED: a stranger's URL leads, or may lead, inside
+-- FetchFailed             502     FETCH_FAILED: a stranger's server did not answer, or with too much
+-- CallReverted            502     CALL_REVERTED: the contract refused the call
+-- NotFound                404
|   +-- WalletUnknown               WALLET_UNKNOWN
+-- Conflict                409
|   +-- WalletExists                WALLET_EXISTS
+-- Unavailable             503
    +-- KeysUnreadable              KEYS_UNREADABLE: wrong password, damaged or exposed file
    |   +-- KeysLost                KEYS_LOST: they existed here and are gone
    +-- ChainUnavailable            CHAIN_UNAVAILABLE: the chain does not answer
    +-- ChainMismatch               CHAIN_MISMATCH: another chain answers than the one configured
"""

from __future__ import annotations

from ledger.errors import AgentNodeError, Conflict, NotFound, Unavailable


class SignatureInvalid(AgentNodeError):
    """It is not signed by whom it says, or not in the one form that is accepted."""

    code = "SIGNATURE_INVALID"
    status = 403


class AddressRefused(AgentNodeError):
    """A stranger's URL leads inside, or is written so that it may."""

    code = "ADDRESS_REFUSED"
    status = 400


class FetchFailed(AgentNodeError):
    """A stranger's server did not answer, broke off, or sent more than is taken."""

    code = "FETCH_FAILED"
    status = 502


class CallReverted(AgentNodeError):
    """The contract refused the call, or spent the gas that it was given."""

    code = "CALL_REVERTED"
    status = 502


class WalletUnknown(NotFound):
    """The keystore has no wallet of that name."""

    code = "WALLET_UNKNOWN"


class WalletExists(Conflict):
    """The keystore has a wallet of that name already."""

    code = "WALLET_EXISTS"


class KeysUnreadable(Unavailable):
    """A file of keys is there and cannot be used: wrong password, damaged, or readable by others."""

    code = "KEYS_UNREADABLE"


class KeysLost(KeysUnreadable):
    """Keys existed here and are gone; new ones would disown what was signed."""

    code = "KEYS_LOST"


class ChainUnavailable(Unavailable):
    """The chain does not answer, so nothing about it is taken for granted."""

    code = "CHAIN_UNAVAILABLE"
    retry_after_ms = 2_000


class ChainMismatch(Unavailable):
    """Another chain answers than the one that was configured."""

    code = "CHAIN_MISMATCH"
