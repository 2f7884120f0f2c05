"""Node keys: made once, kept encrypted, rotated without losing what was signed, never made anew when lost."""

from __future__ import annotations

import json
import multiprocessing
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from trust.errors import KeysLost, KeysUnreadable, SignatureInvalid
from trust.keys import KEY_FILE, KNOWN_FILE, NodeKeys
from trust.signatures import didkey, jws

PASSWORD = "correct horse"


def open_and_tell(folder: str, start: object, told: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    keys = NodeKeys.open(Path(folder), PASSWORD)
    told.put((keys.did, keys.keyed_hash(b"x")))  # type: ignore[attr-defined]


def rotate_once(folder: str) -> None:
    NodeKeys.open(Path(folder), PASSWORD).rotate()


def test_keys_are_the_same_after_reopening(tmp_path: Path) -> None:
    """The second open of a folder has the first one's DID, hashes and wrapped secrets."""
    first = NodeKeys.open(tmp_path / "data", PASSWORD)
    wrapped = first.wrap(b"tenant key")
    second = NodeKeys.open(tmp_path / "data", PASSWORD)
    assert second.did == first.did
    assert second.keyed_hash(b"p402_live_x") == first.keyed_hash(b"p402_live_x") != first.keyed_hash(b"p402_live_y")
    assert second.unwrap(wrapped) == b"tenant key"
    assert second.wrap(b"tenant key") != wrapped


def test_the_kid_in_a_signature_is_in_the_jwks(tmp_path: Path) -> None:
    """A verifier finds the key of a signature in the node's JWKS, which has no private part."""
    keys = NodeKeys.open(tmp_path, PASSWORD)
    token = keys.sign({"receipt": "rcpt_1"}, "receipt+jwt")
    assert keys.kid == didkey.key_id(keys.did)
    assert jws.verify(token, did=keys.did, jwks=keys.jwks(), typ="receipt+jwt") == {"receipt": "rcpt_1"}
    (entry,) = keys.jwks()["keys"]
    assert entry.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}


def test_nothing_private_is_on_disk_in_the_clear(tmp_path: Path) -> None:
    """The key file is 0600 and holds neither a private JWK nor the keys' bytes; a repr shows none either."""
    keys = NodeKeys.open(tmp_path, PASSWORD)
    ring = keys._ring()
    text = (tmp_path / KEY_FILE).read_text()
    private = ring.signing[-1].as_dict(private=True)["d"]
    secrets = [private, ring.hashing.hex(), ring.wrapping[0][1].hex()]
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert not any(secret in text or secret in repr(ring) + repr(keys) for secret in secrets)
    assert sorted(path.name for path in tmp_path.iterdir()) == [KEY_FILE, KNOWN_FILE]


def test_rotation_keeps_what_was_signed_and_wrapped(tmp_path: Path) -> None:
    """After two rotations the first token verifies by the JWKS, the first secret unwraps, and hashes are unchanged."""
    keys = NodeKeys.open(tmp_path, PASSWORD)
    first_did, token, wrapped, hashed = keys.did, keys.sign({"n": 1}, "t"), keys.wrap(b"s"), keys.keyed_hash(b"x")
    keys.rotate()
    keys.rotate()
    for reader in (keys, NodeKeys.open(tmp_path, PASSWORD)):
        assert reader.did != first_did
        assert reader.dids[-1] == first_did and len(reader.dids) == 3
        assert jws.verify(token, jwks=reader.jwks()) == {"n": 1}
        assert reader.unwrap(wrapped) == b"s"
        assert reader.keyed_hash(b"x") == hashed
        assert jws.claimed_signer(reader.sign({}, "t")) == reader.did == reader.dids[0]
    with pytest.raises(SignatureInvalid):
        jws.verify(token, did=keys.did)


def test_a_rotated_key_cannot_sign_any_more(tmp_path: Path) -> None:
    """Rotation drops the earlier signing keys' private part, so a stolen file signs only as the current key."""
    keys = NodeKeys.open(tmp_path, PASSWORD)
    keys.rotate()
    assert [key.is_private for key in keys._ring().signing] == [False, True]


def test_a_rotation_by_another_process_is_seen_at_the_next_use(tmp_path: Path) -> None:
    """A worker that opened before the rotation signs with the new key and unwraps what the new key wrapped."""
    here = NodeKeys.open(tmp_path, PASSWORD)
    there = NodeKeys.open(tmp_path, PASSWORD)
    there.rotate()
    assert here.unwrap(there.wrap(b"s")) == b"s"
    assert here.did == there.did


def test_first_open_by_many_processes_makes_one_key(tmp_path: Path) -> None:
    """Six processes that open an empty folder at once agree on the DID and the hashing secret."""
    context = multiprocessing.get_context("spawn")
    start, told = context.Barrier(6), context.Queue()
    folder = str(tmp_path / "data")
    workers = [context.Process(target=open_and_tell, args=(folder, start, told)) for _ in range(6)]
    for worker in workers:
        worker.start()
    answers = {told.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(answers) == 1
    assert sorted(path.name for path in Path(folder).iterdir()) == [KEY_FILE, KNOWN_FILE]


def test_rotations_at_once_lose_no_key(tmp_path: Path) -> None:
    """Four processes that rotate at once leave five keys in the history."""
    NodeKeys.open(tmp_path, PASSWORD)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=rotate_once, args=(str(tmp_path),)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert len(NodeKeys.open(tmp_path, PASSWORD).dids) == 5


def test_a_wrong_password_is_a_sentence_and_changes_nothing(tmp_path: Path) -> None:
    """Another password refuses with what to do, and the file is as it was."""
    did = NodeKeys.open(tmp_path, PASSWORD).did
    before = (tmp_path / KEY_FILE).read_bytes()
    with pytest.raises(KeysUnreadable, match="AGENTNODE_KEYSTORE_PASSWORD"):
        NodeKeys.open(tmp_path, "another")
    assert (tmp_path / KEY_FILE).read_bytes() == before
    assert NodeKeys.open(tmp_path, PASSWORD).did == did


def flip_sealed(text: str) -> str:
    members = json.loads(text)
    first = members["sealed"][0]
    return json.dumps({**members, "sealed": ("0" if first != "0" else "1") + members["sealed"][1:]})


DAMAGES: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "",
    "cut": lambda text: text[:100],
    "other json": lambda text: "[]",
    "other format": lambda text: text.replace("sealed-1", "sealed-9"),
    "long salt": lambda text: text.replace('"salt": "', '"salt": "00'),
    "flipped byte": flip_sealed,
}


def test_a_damaged_file_is_never_replaced(tmp_path: Path) -> None:
    """Whatever happened to the file, opening refuses and leaves it for the operator to restore."""
    keys = NodeKeys.open(tmp_path, PASSWORD)
    path = tmp_path / KEY_FILE
    whole = path.read_text()
    for name, damage in DAMAGES.items():
        path.write_text(damage(whole))
        damaged = path.read_bytes()
        with pytest.raises(KeysUnreadable, match="backup"):
            NodeKeys.open(tmp_path, PASSWORD)
        with pytest.raises(KeysUnreadable):
            keys.sign({}, "t")
        assert path.read_bytes() == damaged, name


def test_keys_that_are_gone_are_not_made_anew(tmp_path: Path) -> None:
    """The folder remembers that it had keys: a lost file stops running and new processes, naming the lost DID."""
    keys = NodeKeys.open(tmp_path, PASSWORD)
    did = keys.did
    backup = (tmp_path / KEY_FILE).read_bytes()
    (tmp_path / KEY_FILE).unlink()
    for use in (lambda: NodeKeys.open(tmp_path, PASSWORD), lambda: keys.sign({}, "t"), lambda: keys.keyed_hash(b"")):
        with pytest.raises(KeysLost, match=did):
            use()
    assert not NodeKeys.exist(tmp_path)
    (tmp_path / KEY_FILE).write_bytes(backup)
    (tmp_path / KEY_FILE).chmod(0o600)
    assert NodeKeys.open(tmp_path, PASSWORD).did == did == keys.did


def test_a_backup_from_before_a_rotation_is_noticed(tmp_path: Path) -> None:
    """An old file in the new one's place would disown what the new key signed: it is refused, naming the key."""
    keys = NodeKeys.open(tmp_path, PASSWORD)
    old = (tmp_path / KEY_FILE).read_bytes()
    keys.rotate()
    newer = keys.did
    (tmp_path / KEY_FILE).write_bytes(old)
    with pytest.raises(KeysLost, match=newer):
        NodeKeys.open(tmp_path, PASSWORD)


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """Modes that let the group or the world in are refused with the command that mends it."""
    NodeKeys.open(tmp_path, PASSWORD)
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(KeysUnreadable, match="chmod 600"):
        NodeKeys.open(tmp_path, PASSWORD)


def test_a_changed_wrapped_secret_is_refused(tmp_path: Path) -> None:
    """A flipped byte in the version, key id, nonce or text of a wrapped secret ends in KeysUnreadable."""
    keys = NodeKeys.open(tmp_path, PASSWORD)
    wrapped = keys.wrap(b"tenant key")
    for index in (0, 3, 12, 25, len(wrapped) - 1):
        with pytest.raises(KeysUnreadable):
            keys.unwrap(wrapped[:index] + bytes([wrapped[index] ^ 1]) + wrapped[index + 1 :])
    for short in (b"", wrapped[:9], wrapped[:15]):
        with pytest.raises(KeysUnreadable):
            keys.unwrap(short)
