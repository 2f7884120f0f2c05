"""A conversation with a seller in A2A, by the official client over the guarded transport."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from agentnode.hire.errors import SellerRefused, SellerUnreachable
from agentnode.hire.quote import whole_numbers
from agentnode.payments import X402_EXTENSION_URIS
from agentnode.payments.asking import task_metadata as x402
from ledger.errors import AgentNodeError
from trust.json_size import has_more_values
from trust.web import GuardedClient

if TYPE_CHECKING:
    import httpx
    from a2a.client import Client

ENDED_STATES = frozenset({"completed", "failed", "canceled", "rejected"})
_STATE_PREFIX = "TASK_STATE_"
_MOST_VALUES = 100_000
"""In an answer; each takes the SDK some ten microseconds."""


@dataclass(frozen=True)
class SellerTask:
    """A task as the seller shows it. `content` is A2A 1.0 JSON without history and without any payload."""

    id: str
    context_id: str
    state: str
    """`completed`, `input-required`, …; `completed` too where the seller answered with a bare message"""
    payment: Mapping[str, Any] = field(default_factory=dict)
    """the `x402.*` metadata of its status message"""
    content: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.state in ENDED_STATES

    @property
    def asks_payment(self) -> bool:
        return self.state == "input-required" and self.payment.get(x402.STATUS) == "payment-required"

    @property
    def payment_refused(self) -> bool:
        return self.payment.get(x402.STATUS) == "payment-failed"

    @property
    def receipt(self) -> Mapping[str, Any] | None:
        """The last settle response that says the payment succeeded."""
        receipts = self.payment.get(x402.RECEIPTS)
        good = [r for r in receipts if isinstance(r, Mapping) and r.get("success") is True] if receipts else []
        return good[-1] if good else None


class Conversation(Protocol):
    """What a buyer needs of a seller, in A2A or over HTTP."""

    async def ask(self, message_id: str, text: str, skill: str | None) -> SellerTask: ...
    async def pay(self, message_id: str, asked: SellerTask, payload: Mapping[str, Any]) -> SellerTask: ...
    async def task(self, task_id: str) -> SellerTask: ...


class Seller:
    """One seller, found by its card. Every method raises SellerUnreachable, SellerRefused or AddressRefused."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ask(self, message_id: str, text: str, skill: str | None) -> SellerTask:
        """Send the work, without money: the answer is the result of a free skill, or a price."""
        metadata: dict[str, Any] = {x402.VERSION: 2}
        if skill is not None:
            metadata["skill"] = skill
        return await self._send(message_id, text, metadata)

    async def pay(self, message_id: str, asked: SellerTask, payload: Mapping[str, Any]) -> SellerTask:
        """Send the payment for a task: from here on money may move, whatever this answers or raises."""
        metadata = {
            x402.STATUS: "payment-submitted",
            x402.PAYLOAD: dict(payload),
            x402.VERSION: payload["x402Version"],
        }
        return await self._send(message_id, "payment", metadata, asked)

    async def task(self, task_id: str) -> SellerTask:
        from a2a.types import GetTaskRequest

        with _translated():
            return _task(await self._client.get_task(GetTaskRequest(id=task_id, history_length=0)))

    async def _send(
        self, message_id: str, text: str, metadata: Mapping[str, Any], about: SellerTask | None = None
    ) -> SellerTask:
        from a2a.client import ClientCallContext
        from a2a.types import Message, Part, Role, SendMessageRequest

        message = Message(
            message_id=message_id,
            role=Role.ROLE_USER,
            parts=[Part(text=text)],
            metadata=dict(metadata),
            extensions=list(X402_EXTENSION_URIS),
        )
        if about is not None:
            message.task_id, message.context_id = about.id, about.context_id
        context = ClientCallContext(service_parameters={"A2A-Extensions": ",".join(X402_EXTENSION_URIS)})
        with _translated():
            async for event in self._client.send_message(SendMessageRequest(message=message), context=context):
                return _task(event.task) if event.HasField("task") else _answer(event.message)
        raise SellerUnreachable("it answered with neither a task nor a message")


@contextlib.asynccontextmanager
async def seller_of(card: Mapping[str, Any], web: GuardedClient, timeout_s: float) -> AsyncIterator[Seller]:
    """The seller that a card (any version's) describes. Raises SellerUnreachable where it offers no way to talk."""
    import httpx
    from a2a.client import ClientConfig, ClientFactory
    from a2a.client.card_resolver import parse_agent_card

    hooks: dict[str, list[Any]] = {"response": [check_size]}
    transport = web.transport()
    async with httpx.AsyncClient(transport=transport, timeout=timeout_s, trust_env=False, event_hooks=hooks) as http:
        # Polling: every seller can be asked again, and a connection that is cut loses nothing.
        config = ClientConfig(
            streaming=False,
            polling=True,
            httpx_client=http,
            supported_protocol_bindings=["JSONRPC", "HTTP+JSON"],
        )
        with _translated():
            # The SDK's parser changes what it is given.
            client = ClientFactory(config).create(parse_agent_card(copy.deepcopy(dict(card))))
        yield Seller(client)


async def check_size(answer: httpx.Response) -> None:
    """Raises SellerUnreachable for more values than the SDK could read while the node goes on."""
    raw = await answer.aread()
    if raw.count(b",") >= _MOST_VALUES:
        with contextlib.suppress(ValueError, RecursionError):
            if has_more_values(json.loads(raw), _MOST_VALUES):
                raise SellerUnreachable(f"it answers with more than {_MOST_VALUES} values")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """What the SDK, its transports and protobuf raise, in our words; theirs may quote what was sent."""
    import httpx
    from a2a.client.errors import A2AClientError
    from a2a.utils.errors import A2AError
    from google.protobuf.json_format import ParseError

    try:
        yield
    except AgentNodeError:
        raise
    except (A2AClientError, httpx.HTTPError) as error:
        inner: BaseException | None = error
        while inner is not None:
            if isinstance(inner, AgentNodeError):
                raise inner from error
            inner = inner.__cause__
        raise SellerUnreachable("it does not answer as an A2A agent does") from error
    except A2AError as error:
        raise SellerRefused(f"it answers {type(error).__name__}") from error
    except httpx.InvalidURL as error:
        raise SellerUnreachable("its card names what is no URL") from error
    except (ParseError, ValueError, TypeError, KeyError) as error:
        raise SellerUnreachable("its answer is not A2A") from error


def _task(task: Any) -> SellerTask:
    from a2a.types import TaskState
    from google.protobuf.json_format import MessageToDict

    content = whole_numbers(MessageToDict(task))
    content.pop("history", None)
    status = content.get("status", {})
    said = content.get("metadata", {}) | status.get("message", {}).get("metadata", {})
    payment = {key: value for key, value in said.items() if key.startswith("x402.") and key != x402.PAYLOAD}
    for holder in (content, status.get("message", {})):
        holder.get("metadata", {}).pop(x402.PAYLOAD, None)
    state = TaskState.Name(task.status.state).removeprefix(_STATE_PREFIX).lower().replace("_", "-")
    return SellerTask(task.id, task.context_id, state, payment, content)


def _answer(message: Any) -> SellerTask:
    from google.protobuf.json_format import MessageToDict

    content = {"status": {"state": "TASK_STATE_COMPLETED", "message": whole_numbers(MessageToDict(message))}}
    return SellerTask("", message.context_id, "completed", {}, content)
