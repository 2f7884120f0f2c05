"""Files of secrets: 0600, whole or absent, and changed by one process at a time."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trust.errors import KeysUnreadable


def make_folder(folder: Path) -> None:
    """The folder, 0700 where it is made; one that is there keeps its mode."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def replace(path: Path, content: bytes) -> None:
    """Puts the content in the file's place, so that a reader sees the old or the new, and a crash leaves either."""
    draft = _draft(path, content)
    os.replace(draft, path)
    _sync(path.parent)


def create(path: Path, content: bytes) -> bool:
    """Makes the file where there is none, and says whether it did: of many at once, one."""
    draft = _draft(path, content)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    _sync(path.parent)
    return True


def read(path: Path) -> bytes | None:
    """The content; None where there is no file. Raises KeysUnreadable where others may read it, or we may not."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise KeysUnreadable(f"others can read {path}; run chmod 600 on it, and make it anew if somebody did")
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise KeysUnreadable(f"{path} cannot be read ({problem.strerror}); give this user read access") from problem


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process (and one open of the folder) at a time; the lock dies with its holder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _draft(path: Path, content: bytes) -> Path:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
