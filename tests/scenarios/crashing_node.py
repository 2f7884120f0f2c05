"""A node that is killed as by kill -9 when its journal reaches the point that CRASH_AT names."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from agentnode.__main__ import SETTINGS, run
from agentnode.settings import Settings


def die(point: str) -> None:
    if point == os.environ.get("CRASH_AT"):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(asyncio.run(run(Settings.model_validate_json(os.environ[SETTINGS]), die)))
