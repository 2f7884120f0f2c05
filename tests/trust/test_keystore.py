"""Wallets and their password: encrypted at rest, one per name, refused when damaged or exposed."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from eth_account import Account

from ledger.errors import InvalidInput
from trust.errors import KeysUnreadable, WalletExists, WalletUnknown
from trust.keys import KEY_FILE, NodeKeys
from trust.keystore import PASSWORD_FILE, Keystore, open_password

KEY = "0x" + "11" * 32
ADDRESS = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"


def test_a_wallet_comes_back_by_its_name_and_signs(tmp_path: Path) -> None:
    """What was put under a name has its address without the password, and signs with it; other tools open its file."""
    store = Keystore(tmp_path / "wallets", "pw")
    assert store.names() == [] and store.address("buyer") is None
    assert store.put("buyer", KEY) == ADDRESS
    path = tmp_path / "wallets" / "buyer.json"
    assert Keystore(tmp_path / "wallets", "").address("buyer") == ADDRESS
    assert store.account("buyer").address == ADDRESS
    assert store.names() == ["buyer"]
    assert bytes(Account.decrypt(json.loads(path.read_text()), "pw")).hex() == "11" * 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and "1111" not in path.read_text()


def test_a_name_is_given_once(tmp_path: Path) -> None:
    """Of two makers of one name at once, one has it and the other is told; no key is overwritten."""
    store = Keystore(tmp_path, "pw")

    def create(_: int) -> str | None:
        try:
            return store.create("signer")
        except WalletExists:
            return None

    with ThreadPoolExecutor(2) as pool:
        made = [address for address in pool.map(create, range(2)) if address]
    assert made == [store.address("signer")]
    with pytest.raises(WalletExists):
        store.put("signer", KEY)
    assert [path.name for path in tmp_path.iterdir()] == ["signer.json"]


def test_a_wallet_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    """Unknown, wrong password, changed address, damaged: each is a refusal of ours that says what to do."""
    Keystore(tmp_path, "pw").put("buyer", KEY)
    path = tmp_path / "buyer.json"
    wallet = json.loads(path.read_text())
    with pytest.raises(WalletUnknown, match="wallet create seller"):
        Keystore(tmp_path, "pw").account("seller")
    with pytest.raises(KeysUnreadable, match="AGENTNODE_KEYSTORE_PASSWORD"):
        Keystore(tmp_path, "other").account("buyer")
    path.write_text(json.dumps({**wallet, "address": "0x" + "22" * 20}))
    with pytest.raises(KeysUnreadable, match="damaged"):
        Keystore(tmp_path, "pw").account("buyer")
    for content in ("", "[]", "{}", json.dumps({**wallet, "crypto": {}}), json.dumps({**wallet, "version": 9})):
        path.write_text(content)
        with pytest.raises(KeysUnreadable, match="damaged"):
            Keystore(tmp_path, "pw").account("buyer")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", ".hidden", "x" * 65, "a\n", "é"])
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    """Names are short plain words: nothing in them is read as a path."""
    with pytest.raises(InvalidInput):
        Keystore(tmp_path, "pw").create(name)


@pytest.mark.parametrize("key", ["", "0x12", "zz" * 32, "0x" + "00" * 32, "ff" * 32, b"\x01" * 31, bytes(32)])
def test_what_is_no_key_is_refused_without_being_told(tmp_path: Path, key: str | bytes) -> None:
    """Zero, too large, short, or no hex: bad input, whose message does not repeat what was typed."""
    with pytest.raises(InvalidInput) as refusal:
        Keystore(tmp_path, "pw").put("buyer", key)
    assert not isinstance(key, str) or len(key) < 10 or key not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert list(tmp_path.iterdir()) == []


def test_the_password_of_the_environment_comes_first(tmp_path: Path) -> None:
    """With AGENTNODE_KEYSTORE_PASSWORD set no file is made."""
    assert open_password(tmp_path, {"AGENTNODE_KEYSTORE_PASSWORD": "secret"}) == ("secret", "environment")
    assert list(tmp_path.iterdir()) == []


def test_without_one_a_password_is_made_once(tmp_path: Path) -> None:
    """Many who ask at once get the one password of the one 0600 file."""
    folder = tmp_path / "data"
    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(lambda _: open_password(folder, {"AGENTNODE_KEYSTORE_PASSWORD": ""}), range(8)))
    ((password, source),) = answers
    assert source == "file" and len(password) >= 32
    assert stat.S_IMODE((folder / PASSWORD_FILE).stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == [PASSWORD_FILE]


def test_a_password_file_that_others_can_read_or_that_is_empty_is_refused(tmp_path: Path) -> None:
    """Neither an exposed nor an empty password is used."""
    open_password(tmp_path, {})
    path = tmp_path / PASSWORD_FILE
    path.chmod(0o640)
    with pytest.raises(KeysUnreadable, match="chmod 600"):
        open_password(tmp_path, {})
    path.chmod(0o600)
    for content in (b"\n", b"\xff"):
        path.write_bytes(content)
        with pytest.raises(KeysUnreadable, match="no password"):
            open_password(tmp_path, {})


def test_no_password_is_invented_for_keys_that_exist(tmp_path: Path) -> None:
    """Keys made under a password of the environment, which is now missing: refused, and no useless file is left."""
    NodeKeys.open(tmp_path, "secret")
    with pytest.raises(KeysUnreadable, match="AGENTNODE_KEYSTORE_PASSWORD"):
        open_password(tmp_path, {})
    assert not (tmp_path / PASSWORD_FILE).exists() and (tmp_path / KEY_FILE).exists()
