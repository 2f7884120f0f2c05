"""The command line: `agentnode up`, `demo`, `devchain`, `hire`, `keys`, `mandate`, `wallet`, `verify`.

An error is one sentence that says what to do. Exit codes: 0 done, 1 refused or failed, 2 usage, 3 unclear.
"""

from agentnode.cli.main import main

__all__ = ["main"]
