"""Who may pay and be paid, by the operator's list of addresses, or service, or both. What is unknown is refused."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import httpx

from agentnode.payments.errors import ComplianceBlocked, ComplianceUnchecked
from trust.tls import authorities

_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_MOST_BYTES = 10_000_000


class Compliance(Protocol):
    async def check(self, payer: str, payee: str) -> str:
        """The version of what let them through. Raises ComplianceBlocked, ComplianceUnchecked."""
        ...


class BlockedAddresses:
    """A file of addresses, one a line, `#` begins a remark; read again whenever it has changed, without a restart.

    A file that cannot be read, or has a line that is no address, lets nobody through: half a list is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._blocked: frozenset[str] = frozenset()
        self._version = ""

    async def check(self, payer: str, payee: str) -> str:
        await asyncio.to_thread(self._read)
        for side, address in (("payer", payer), ("payee", payee)):
            if address.lower() in self._blocked:
                raise ComplianceBlocked(f"the {side} {address} is on the operator's list")
        return self._version

    def _read(self) -> None:
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen == self._seen:
                return
            text = self._path.read_text() if stat.st_size <= _MOST_BYTES else "too long"
        except (OSError, UnicodeDecodeError) as error:
            self._seen = None
            raise ComplianceUnchecked("the list of blocked addresses cannot be read") from error
        lines = [line.partition("#")[0].strip().lower() for line in text.splitlines()]
        named = [line for line in lines if line]
        if not all(_ADDRESS.fullmatch(line) for line in named):
            self._seen = None
            raise ComplianceUnchecked("the list of blocked addresses has a line that is no address")
        self._blocked = frozenset(named)
        self._version = "list:" + hashlib.sha256("\n".join(sorted(self._blocked)).encode()).hexdigest()[:12]
        self._seen = seen


class ComplianceService:
    """The operator's service: `POST {payer, payee}` answers `{allowed, version, reason?}` in time, or it is no."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(timeout=timeout_s, trust_env=False, verify=authorities())

    async def check(self, payer: str, payee: str) -> str:
        answer = await self._asked({"payer": payer, "payee": payee})
        if answer.get("allowed") is True:
            return f"service:{str(answer.get('version', ''))[:40]}"
        if answer.get("allowed") is False:
            raise ComplianceBlocked(str(answer.get("reason") or "the operator's compliance service says no")[:200])
        raise ComplianceUnchecked("the compliance service does not say whether it is allowed")

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _asked(self, body: dict[str, str]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._timeout_s):
                reply = await self._client.post(self._url, json=body)
            answer = reply.raise_for_status().json()
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError):
            raise ComplianceUnchecked("the compliance service did not answer in time") from None
        return answer if isinstance(answer, dict) else {}


class Every:
    """All of several must let them through; with none, everybody passes."""

    def __init__(self, hooks: Sequence[Compliance]) -> None:
        self._hooks = hooks

    async def check(self, payer: str, payee: str) -> str:
        return " ".join([await hook.check(payer, payee) for hook in self._hooks])

    async def aclose(self) -> None:
        for hook in self._hooks:
            if isinstance(hook, ComplianceService):
                await hook.aclose()
