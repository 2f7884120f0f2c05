"""A JSON-RPC proxy before the chain, whose rule decides of each request what becomes of it, as real nodes do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx

from tests.answering import Answer, answering

LOSE_REQUEST, LOSE_ANSWER = "lose the request", "lose the answer"
Fate = None | int | str | dict[str, Any] | list[Any]
"""None passes it on, a number is the HTTP status, a dict answers it, and the two words cut the connection."""


def refused(message: str, code: int = -32000) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


class RpcProxy:
    """Use as a context manager; `.url`. `rule` may be changed meanwhile."""

    def __init__(self, chain_url: str, rule: Callable[[dict[str, Any]], Fate] = lambda request: None) -> None:
        self.rule = rule
        self._chain = httpx.Client(base_url=chain_url, timeout=30, verify=False)
        self._answering = answering(self._say)

    def _say(self, path: str, body: bytes) -> Answer:
        if not body:
            return 200, self._chain.get(path).content
        fate = self._fate(json.loads(body)) if path == "/" else None
        if isinstance(fate, int):
            return fate, {}
        if isinstance(fate, dict | list):
            return 200, fate
        if fate == LOSE_REQUEST:
            return None
        passed = self._chain.post(path, content=body, headers={"content-type": "application/json"})
        return (200, passed.content) if fate is None else None

    def _fate(self, asked: Any) -> Fate:
        """A dict is the whole answer. A batch is passed on in parts; who loses one request loses the batch."""
        if isinstance(asked, dict):
            fate = self.rule(asked)
            return {"jsonrpc": "2.0", "id": asked["id"], **fate} if isinstance(fate, dict) else fate
        fates = [self._fate(request) for request in asked]
        whole = next((fate for fate in fates if isinstance(fate, int | str)), None)
        if whole is not None or all(fate is None for fate in fates):
            return whole
        return [fate or self._passed(request) for fate, request in zip(fates, asked, strict=True)]

    def _passed(self, request: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._chain.post("/", json=request).json()
        return answer

    def __enter__(self) -> RpcProxy:
        self.url = self._answering.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._answering.__exit__(*raised)
