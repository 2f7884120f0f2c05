"""An HTTP resource as a seller: the request is sent, and once more with the payment that its 402 asks for.

Source: x402 specification versions 1 and 2, transport HTTP.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from agentnode.hire.errors import SellerRefused, SellerUnreachable
from agentnode.hire.request import HttpWork
from agentnode.hire.seller import SellerTask
from agentnode.hire.tables import HTTP_TASK
from agentnode.payments.asking import task_metadata as x402
from ledger.errors import AgentNodeError
from trust.web import GuardedClient

if TYPE_CHECKING:
    import httpx

_MOST_TRIES = 3
_SENT_IN = {2: "PAYMENT-SIGNATURE", 1: "X-PAYMENT"}
_ANSWERED_IN = ("payment-response", "x-payment-response")


class HttpSeller:
    """One request of one call. Every method raises SellerUnreachable, SellerRefused or AddressRefused."""

    def __init__(self, http: httpx.AsyncClient, url: str, work: HttpWork, call_id: str) -> None:
        self._http, self._url, self._work = http, url, work
        self._task_id = HTTP_TASK + call_id
        self._paid: dict[str, str] = {}
        self._tries_left = _MOST_TRIES

    async def ask(self, message_id: str, text: str, skill: str | None) -> SellerTask:
        """Send the request without money: its answer where it is free, or a price."""
        answer = await self._send({})
        if answer.status_code == 402:
            payment = {x402.STATUS: "payment-required", x402.REQUIRED: required_of(answer)}
            return self._task("input-required", payment)
        if answer.status_code >= 400:
            raise SellerRefused(f"it answers {answer.status_code}")
        return self._task("completed", {}, answer)

    async def pay(self, message_id: str, asked: SellerTask, payload: Mapping[str, Any]) -> SellerTask:
        """Send it with the payment: from here on money may move, whatever this answers or raises."""
        self._paid = {_SENT_IN[payload["x402Version"]]: base64.b64encode(orjson.dumps(payload)).decode()}
        return await self.task(self._task_id)

    async def task(self, task_id: str) -> SellerTask:
        """The same payment once more, as x402 has it for a lost answer; a few times at most, for the work may be done
        each time."""
        if not self._paid or not self._tries_left:
            raise SellerUnreachable("an HTTP request has no task to ask for")
        self._tries_left -= 1
        answer = await self._send(self._paid)
        settled = next((found for name in _ANSWERED_IN if (found := object_in(answer, name)) is not None), None)
        receipts = {x402.RECEIPTS: [settled]} if settled else {}
        if answer.status_code < 400:
            return self._task("completed", {x402.STATUS: "payment-completed", **receipts}, answer)
        if answer.status_code == 402:
            return self._task("input-required", {x402.STATUS: "payment-failed", **receipts})
        if answer.status_code == 409 and "retry-after" in answer.headers:
            return self._task("working", {x402.STATUS: "payment-submitted"})
        return self._task("failed", receipts, answer)

    async def _send(self, headers: Mapping[str, str]) -> httpx.Response:
        import httpx

        work = self._work
        try:
            return await self._http.request(work.method, self._url, json=work.json, headers=dict(headers))
        except AgentNodeError:
            raise
        except httpx.InvalidURL as error:
            raise SellerUnreachable("it is named by what is no URL") from error
        except httpx.HTTPError as error:
            if isinstance(error.__cause__, AgentNodeError):
                raise error.__cause__ from error
            raise SellerUnreachable("it does not answer") from error

    def _task(self, state: str, payment: Mapping[str, Any], answer: httpx.Response | None = None) -> SellerTask:
        content = {} if answer is None else content_of(answer)
        return SellerTask(self._task_id, "", state, payment, content)


@contextlib.asynccontextmanager
async def http_seller_of(
    url: str, work: HttpWork, call_id: str, web: GuardedClient, timeout_s: float
) -> AsyncIterator[HttpSeller]:
    import httpx

    async with httpx.AsyncClient(transport=web.transport(), timeout=timeout_s, trust_env=False) as http:
        yield HttpSeller(http, url, work, call_id)


def required_of(answer: httpx.Response) -> dict[str, Any] | None:
    """The x402 object of a 402: of version 2 in the header, else the body's; None where there is none."""
    found = object_in(answer, "payment-required")
    if found is None:
        with contextlib.suppress(ValueError):
            found = orjson.loads(answer.content)
    return found if isinstance(found, dict) else None


def object_in(answer: httpx.Response, header: str) -> dict[str, Any] | None:
    """The object that a header carries as base64 JSON; None where it does not."""
    try:
        found = orjson.loads(base64.b64decode(answer.headers.get(header, ""), validate=True))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def content_of(answer: httpx.Response) -> dict[str, Any]:
    """The answer as A2A's JSON: one artefact of one part, text where it is UTF-8."""
    kind = answer.headers.get("content-type", "")
    try:
        part = {"text": answer.content.decode()}
    except UnicodeDecodeError:
        part = {"raw": base64.b64encode(answer.content).decode()}
    parts = [{**part, "mediaType": kind}]
    return {"httpStatus": answer.status_code, "artifacts": [{"artifactId": "answer", "parts": parts}]}
