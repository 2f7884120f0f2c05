"""The embedded chain as a child of the node: started, waited for, and stopped with it."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from types import TracebackType
from typing import Any

from .errors import ChainNotStarted, require_chain_extra
from .genesis import description

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0


class ChainChild:
    """`async with ChainChild(folder) as chain: chain.rpc_url`. The child ends when this process does, however it ends.

    start() raises ChainExtraMissing, or ChainNotStarted with the child's own sentence.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        self._folder = folder
        self._port = port
        self._process: Process | None = None
        self._rpc_url = ""

    @property
    def rpc_url(self) -> str:
        """`http://127.0.0.1:PORT`, without a slash at its end."""
        assert self._rpc_url, "the chain is not started"
        return self._rpc_url

    @property
    def pid(self) -> int:
        assert self._process is not None, "the chain is not started"
        return self._process.pid

    def info(self) -> dict[str, Any]:
        """What GET /info answers."""
        return description(self.rpc_url)

    async def start(self) -> None:
        require_chain_extra()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "agentnode.devchain", "--parent-pipe", "--port", str(self._port), "--data", str(self._folder)),
            stdin=PIPE,
            stdout=PIPE,
            # Its own group: a Ctrl-C is for the parent, which stops the chain when it no longer needs it.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), START_TIMEOUT_S)
        except TimeoutError:
            await self.stop()
            raise ChainNotStarted(f"the embedded chain was not ready within {START_TIMEOUT_S:.0f} s") from None
        except asyncio.CancelledError:
            self._process.kill()
            raise
        word, _, rest = line.decode().strip().partition(" ")
        if word != "ready":
            await self.stop()
            raise ChainNotStarted(rest or "the embedded chain ended without a word; its stderr may say why")
        self._rpc_url = rest

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def __aenter__(self) -> ChainChild:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
