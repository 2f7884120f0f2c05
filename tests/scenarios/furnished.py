"""A new node's folder, so that its first start takes no longer than a later one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from agentnode.payments.assembly import PAYEE_WALLET, SENDER_WALLET
from tests.databases import sqlite_with_tables
from trust import private_files
from trust.keystore import PASSWORD_FILE, open_password


def furnish(folder: Path) -> None:
    """Puts a database with its tables and the node's wallets in a folder that is new."""
    if (folder / PASSWORD_FILE).exists():
        return
    for name in (PAYEE_WALLET, SENDER_WALLET):
        new_wallet(folder, name)
    shutil.copy(sqlite_with_tables(), folder / "agentnode.db")


def new_wallet(folder: Path, name: str) -> str:
    """Its address. The file says of itself that a password is quickly tried: what a node makes takes a second each time
    that it is opened."""
    from eth_account import Account

    password, _ = open_password(folder, {})
    account = Account.create()
    wallet = Account.encrypt(account.key, password, kdf="pbkdf2", iterations=1) | {"address": account.address}
    private_files.make_folder(folder / "wallets")
    private_files.create(folder / "wallets" / f"{name}.json", json.dumps(wallet).encode())
    return str(account.address)
