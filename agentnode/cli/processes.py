"""The demo's three processes: started, waited for, and stopped together."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from agentnode.cli.local import NodeSaid
from agentnode.settings import Settings, load

_BALANCE_OF = "0x70a08231"


class Processes:
    """A chain and nodes over it, apart from whatever the environment is configured for but the upstreams' keys."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children = contextlib.ExitStack()
        self.rpc_url = ""

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._children.close()

    def start_chain(self) -> dict[str, Any]:
        """What the chain says of itself at /info."""
        arguments = ["-m", "agentnode.devchain", "--port", "0", "--data", str(self._folder / "chain")]
        self.rpc_url = self._url("chain", self._spawn("chain", arguments, {}))
        info: dict[str, Any] = httpx.get(f"{self.rpc_url}/info", timeout=10).raise_for_status().json()
        return info

    def start_nodes(self, *folders: Path) -> list[str]:
        """A node on each folder, side by side; their URLs."""
        children = []
        for data in folders:
            environment = {"AGENTNODE_SETTINGS": self.settings(data).model_dump_json()}
            children.append(self._spawn(data.name, ["-m", "agentnode"], environment))
        return [self._url(data.name, child) for data, child in zip(folders, children, strict=True)]

    def settings(self, data: Path) -> Settings:
        return load({}, data=data, port=0, chain=self.rpc_url)

    def faucet(self, address: str, usdc: str) -> None:
        httpx.post(f"{self.rpc_url}/faucet", json={"address": address, "usdc": usdc}, timeout=30).raise_for_status()

    def balance(self, token: str, address: str) -> int:
        """In atomic units."""
        data = _BALANCE_OF + address.removeprefix("0x").lower().rjust(64, "0")
        return int(self.rpc("eth_call", {"to": token, "data": data}, "latest"), 16)

    def rpc(self, method: str, *params: Any) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        return httpx.post(self.rpc_url, json=request, timeout=30).raise_for_status().json()["result"]

    def _spawn(self, name: str, arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AGENTNODE_", "P402_"))}
        log = self._children.enter_context((self._folder / f"{name}.log").open("w"))
        child = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=log, text=True, env={**kept, **environment}
        )
        self._children.callback(_stop, child)
        return child

    def _url(self, name: str, child: subprocess.Popen[str]) -> str:
        """What the child prints when it serves."""
        assert child.stdout is not None
        word, _, url = child.stdout.readline().strip().partition(" ")
        if word != "ready":
            message = f"NODE_NOT_STARTED: {name} did not start; {self._folder / f'{name}.log'} says why"
            raise NodeSaid({"code": "NODE_NOT_STARTED", "message": message}, 503)
        return url


def _stop(child: subprocess.Popen[str]) -> None:
    child.terminate()
    try:
        child.wait(timeout=15)
    except subprocess.TimeoutExpired:
        child.kill()
