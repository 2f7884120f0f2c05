"""EVM wallets as encrypted V3 JSON files, and where the password that opens them comes from."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ledger.errors import InvalidInput
from trust import private_files
from trust.errors import KeysUnreadable, WalletExists, WalletUnknown
from trust.keys import NodeKeys

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

PASSWORD_VARIABLE = "AGENTNODE_KEYSTORE_PASSWORD"
PASSWORD_FILE = "keystore-password"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_PRIVATE_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}", re.ASCII)


def open_password(folder: Path, environ: Mapping[str, str]) -> tuple[str, Literal["environment", "file"]]:
    """The password of keys and wallets: AGENTNODE_KEYSTORE_PASSWORD, else a 0600 file in the folder, made on first use.

    Raises KeysUnreadable where the file is readable by others or empty, and where keys exist but no password does: one
    made now would not open them.
    """
    if password := environ.get(PASSWORD_VARIABLE):
        return password, "environment"
    private_files.make_folder(folder)
    path = folder / PASSWORD_FILE
    stored = private_files.read(path)
    if stored is None:
        if NodeKeys.exist(folder):
            raise KeysUnreadable(
                f"there are keys in {folder} and no password for them; set {PASSWORD_VARIABLE}, or put {path} back"
            )
        private_files.create(path, f"{secrets.token_urlsafe(32)}\n".encode())
        stored = private_files.read(path) or b""
    try:
        password = stored.decode().strip()
    except UnicodeDecodeError:
        password = ""
    if not password:
        raise KeysUnreadable(f"{path} holds no password; put it back from a backup, or set {PASSWORD_VARIABLE}")
    return password, "file"


class Keystore:
    """Wallets by name, a V3 file each (Web3 Secret Storage), under one password. Addresses are EIP-55."""

    def __init__(self, folder: Path, password: str) -> None:
        self._folder = folder
        self._password = password

    def create(self, name: str) -> str:
        """A new wallet's address. Raises WalletExists."""
        return self.put(name, secrets.token_bytes(32))

    def put(self, name: str, private_key: bytes | str) -> str:
        """Keeps a key (32 bytes, or their hex) under a name; takes a second, for whoever guesses passwords too.

        Raises WalletExists, and InvalidInput for a name or a key that is none.
        """
        from eth_account import Account

        path = self._path(name)
        if path.exists():
            raise _exists(name)
        if isinstance(private_key, str) and not _PRIVATE_KEY.fullmatch(private_key):
            raise InvalidInput("private_key", "must be 64 hex digits")
        try:
            account: LocalAccount = Account.from_key(private_key)
        except ValueError:
            raise InvalidInput("private_key", "must be a key of secp256k1: 32 bytes below the curve's order") from None
        wallet = {**Account.encrypt(account.key, self._password), "address": account.address}
        private_files.make_folder(self._folder)
        if not private_files.create(path, (json.dumps(wallet, indent=1) + "\n").encode()):
            raise _exists(name)
        return str(account.address)

    def address(self, name: str) -> str | None:
        """The address that the wallet's file names, without opening it; None where there is no such wallet."""
        wallet = self._read(name)
        if wallet is None:
            return None
        from eth_utils.address import is_hex_address, to_checksum_address

        address = wallet.get("address")
        if not is_hex_address(address):
            raise _damaged(self._path(name))
        return str(to_checksum_address(address))

    def account(self, name: str) -> LocalAccount:
        """The wallet, able to sign. Raises WalletUnknown, and KeysUnreadable for a wrong password or a damaged file."""
        from eth_account import Account

        wallet = self._read(name)
        if wallet is None:
            raise WalletUnknown(f"there is no wallet {name}; `agentnode wallet create {name}` makes one")
        try:
            account: LocalAccount = Account.from_key(Account.decrypt(wallet, self._password))
        except ValueError as problem:
            if "MAC mismatch" in str(problem):
                raise KeysUnreadable(
                    f"wallet {name} does not open; set {PASSWORD_VARIABLE} to the password it was made with"
                ) from None
            raise _damaged(self._path(name)) from None
        except (KeyError, TypeError, AttributeError, NotImplementedError):
            raise _damaged(self._path(name)) from None
        if self.address(name) != account.address:
            # The address stands outside the encryption: a changed one would have money sent to somebody else.
            raise _damaged(self._path(name))
        return account

    def names(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        return sorted(path.stem for path in self._folder.glob("*.json") if _NAME.fullmatch(path.stem))

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                "name", "must be 1 to 64 of a-z, 0-9, dot, dash and underscore, and begin with the first two"
            )
        return self._folder / f"{name}.json"

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self._path(name)
        content = private_files.read(path)
        if content is None:
            return None
        try:
            wallet = json.loads(content)
        except ValueError:
            raise _damaged(path) from None
        if not isinstance(wallet, dict):
            raise _damaged(path)
        return wallet


def _exists(name: str) -> WalletExists:
    return WalletExists(f"there is a wallet {name} already; choose another name")


def _damaged(path: Path) -> KeysUnreadable:
    return KeysUnreadable(f"{path} is damaged; restore it from a backup")
