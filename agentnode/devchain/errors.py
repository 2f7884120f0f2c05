"""What can go wrong with the embedded chain as a whole; what a JSON-RPC call refuses is in `envelope.py`.

AgentNodeError
+-- ChainExtraMissing   503  CHAIN_EXTRA_MISSING: py-evm is not installed
+-- GenesisMismatch     409  CHAIN_GENESIS_MISMATCH: the folder's blocks stand on another genesis
+-- ChainFolderInUse    409  CHAIN_FOLDER_IN_USE: another process has the folder's blocks open
+-- HostNotLoopback     400  CHAIN_HOST_NOT_LOOPBACK: its keys are public, so it serves this machine only
+-- ChainNotStarted     503  CHAIN_NOT_STARTED: the child process ended before it was ready
"""

from __future__ import annotations

from importlib.util import find_spec

from ledger.errors import AgentNodeError


class ChainExtraMissing(AgentNodeError):
    """The embedded chain needs py-evm, which only the extra `chain` installs."""

    code = "CHAIN_EXTRA_MISSING"
    status = 503

    def __init__(self) -> None:
        super().__init__(
            "the embedded chain needs the extra `chain`; install it with pip install 'agentnode[chain]', "
            "or start the node with --chain none or --chain URL"
        )


class GenesisMismatch(AgentNodeError):
    """The folder's blocks stand on another genesis than this version's."""

    code = "CHAIN_GENESIS_MISMATCH"
    status = 409

    def __init__(self, path: str) -> None:
        super().__init__(
            f"the blocks in {path} were made on another genesis; delete that file to start a new chain, "
            "or run the version of agentnode that made it"
        )


class ChainFolderInUse(AgentNodeError):
    """Another process has the folder's blocks open."""

    code = "CHAIN_FOLDER_IN_USE"
    status = 409

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is open in another process; stop that one or give another --data folder")


class HostNotLoopback(AgentNodeError):
    """Its keys are public, so the embedded chain serves this machine only."""

    code = "CHAIN_HOST_NOT_LOOPBACK"
    status = 400

    def __init__(self, host: str) -> None:
        super().__init__(f"the embedded chain does not serve {host}: its keys are public; use --host 127.0.0.1")


class ChainNotStarted(AgentNodeError):
    """The child process ended, or said nothing, before it was ready."""

    code = "CHAIN_NOT_STARTED"
    status = 503


def require_chain_extra() -> None:
    """Raises ChainExtraMissing where py-evm is not installed, without the second that importing it takes."""
    if find_spec("eth") is None:
        raise ChainExtraMissing
