"""The keys of the nodes that tests put together, opened once in a process: to derive their seal is slow, by design."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from trust.keys import NodeKeys

PASSWORD = "test"


@functools.cache
def keys_folder(name: str = "node") -> Path:
    """Where another process finds them, under PASSWORD."""
    folder = Path(tempfile.mkdtemp(prefix=f"agentnode-keys-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def node_keys(name: str = "node") -> NodeKeys:
    """Another name is another node."""
    return NodeKeys.open(keys_folder(name), PASSWORD)
