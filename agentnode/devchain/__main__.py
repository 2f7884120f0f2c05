"""python -m agentnode.devchain: the embedded chain in a process of its own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ledger.errors import AgentNodeError

from .errors import require_chain_extra
from .genesis import CHAIN_ID


def main(arguments: list[str] | None = None) -> int:
    """Prints `ready URL` on stdout when it serves, or `failed CODE: ...` and ends with 1."""
    parser = argparse.ArgumentParser(prog="agentnode devchain", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--port", type=int, default=8545, help="0 takes a free one")
    parser.add_argument("--data", type=Path, default=Path(".agentnode"), help="the folder that keeps the blocks")
    parser.add_argument("--chain-id", type=int, default=CHAIN_ID, help="for clients that know no other chain")
    parser.add_argument("--parent-pipe", action="store_true", help="stop when standard input ends")
    options = parser.parse_args(arguments)
    try:
        require_chain_extra()
        from .serve import serve

        serve(options.host, options.port, options.data, options.parent_pipe, options.chain_id)
    except AgentNodeError as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"CHAIN_NOT_STARTED: cannot serve on {options.host}:{options.port}: {error.strerror}")
    return 0


def _failed(sentence: str) -> int:
    sys.stdout.write(f"failed {sentence}\n")
    sys.stdout.flush()
    sys.stderr.write(f"{sentence}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
