"""JSON-RPC to a chain at the operator's URL: one exchange, and what its refusals mean."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from trust.errors import CallReverted, ChainUnavailable
from trust.tls import authorities

_Read = TypeVar("_Read")
_REVERTED = 3
# Where it is no plain revert, nodes tell a contract's failure from their own by words only (geth, Nethermind, py-evm).
_CONTRACT_FAILED = re.compile(
    r"revert|vm execution error|out ?of ?gas|invalid ?(opcode|instruction|jump)|stack ?(underflow|overflow|depth)"
    r"|(insufficient|full) ?stack|write ?protection|out ?of ?bounds|call depth",
    re.IGNORECASE,
)


class JsonRpc:
    """Raises ChainUnavailable (503) where the chain does not answer, or not in JSON-RPC's form."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url, self._timeout_s = url, timeout_s
        self._ids = itertools.count(1)
        # Kept alive for less than servers do, so that no call is sent into a connection that is just being closed.
        limits = httpx.Limits(keepalive_expiry=2.0)
        self._client = httpx.AsyncClient(timeout=timeout_s, trust_env=False, verify=authorities(), limits=limits)

    async def ask(self, method: str, *params: Any) -> Any:
        """Raises CallReverted too, where a contract refuses."""
        [answer] = await self.ask_all((method, list(params)))
        return certain(answer)

    async def ask_all(self, *asked: tuple[str, list[Any]]) -> list[Any]:
        """Results in the order asked, in one exchange; a refusal is the error to be raised, and is not raised here."""
        requests: list[dict[str, Any]] = [
            {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params} for method, params in asked
        ]
        methods = ", ".join(method for method, _ in asked)
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._client.post(self._url, json=requests if len(requests) > 1 else requests[0])
            answer = response.json()
        # The URL may carry the operator's key to the RPC, so neither it nor httpx's words are passed on.
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as problem:
            raise ChainUnavailable(f"the chain's RPC does not answer {methods} ({type(problem).__name__})") from None
        except ValueError:
            raise ChainUnavailable(f"the chain's RPC answers {methods} with status {response.status_code}") from None
        told = answer if isinstance(answer, list) else [answer]
        by_id = {str(one.get("id")): one for one in told if isinstance(one, dict)}
        refused = answer if isinstance(answer, dict) and "error" in answer else None  # of the batch as a whole
        return [_result(request["method"], by_id.get(str(request["id"]), refused)) for request in requests]

    async def aclose(self) -> None:
        await self._client.aclose()


def certain(answer: Any) -> Any:
    """Raises it where it is a refusal."""
    if isinstance(answer, Exception):
        raise answer
    return answer


def parsed(read: Callable[[Any], _Read], answer: Any) -> _Read:
    """What a reader of `chain_records` makes of a result. Raises ChainUnavailable for another form."""
    try:
        return read(answer)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ChainUnavailable("the chain's RPC answers in a form that is not JSON-RPC's") from None


def _result(method: str, answer: Any) -> Any:
    if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
        return _refused(method, answer["error"])
    if not isinstance(answer, dict) or "result" not in answer:
        return ChainUnavailable(f"the chain's RPC answers {method} with what is no JSON-RPC")
    return answer["result"]


def _refused(method: str, error: dict[str, Any]) -> CallReverted | ChainUnavailable:
    message = str(error.get("message", ""))[:200]
    if method in ("eth_call", "eth_estimateGas") and (
        error.get("code") == _REVERTED or _CONTRACT_FAILED.search(message)
    ):
        return CallReverted(message)
    return ChainUnavailable(f"the chain's RPC refuses {method}: {message} ({error.get('code')})")
