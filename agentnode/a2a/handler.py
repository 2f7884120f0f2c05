"""The SDK's RequestHandler over our task runtime: all eleven methods, in A2A's types and A2A's errors."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import Any, ParamSpec, TypeVar

from a2a.server.context import ServerCallContext
from a2a.server.events import Event as ProtoEvent
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import (
    A2AError,
    ExtendedAgentCardNotConfiguredError,
    InternalError,
    InvalidParamsError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from a2a.utils.proto_utils import validate_proto_required_fields
from a2a.utils.task import (
    ListTasksCursor,
    decode_list_tasks_cursor,
    encode_list_tasks_cursor,
    validate_history_length,
    validate_page_size,
)

from agentnode.a2a.errors import TaskNotStoppable
from agentnode.a2a.events import View
from agentnode.a2a.extended import ExtendedCard
from agentnode.a2a.incoming import Incoming
from agentnode.a2a.protos import Protos, incoming, push_config, push_proto, state_of_proto
from agentnode.a2a.reading import Filter
from agentnode.a2a.runtime import Step, TaskRuntime
from agentnode.a2a.telling import DEFAULT_ID
from ledger.accounts import Caller
from ledger.clock import SECOND_US
from ledger.errors import AgentNodeError, Conflict, InvalidInput, KeyInvalid, NotFound
from trust.errors import AddressRefused

logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")
_PAGE = 50
_LONGEST_TOKEN = 200


def a2a_error(error: AgentNodeError) -> A2AError:
    """A2A's class for one of our errors; our code is in its data. Exact classes: the SDK looks up `type(error)`."""
    data = error.as_dict()
    match error:
        case TaskNotStoppable():
            return TaskNotCancelableError(error.message, data)
        case NotFound():
            return TaskNotFoundError(error.message, data)
        case InvalidInput() | AddressRefused():
            return InvalidParamsError(error.message, data)
        case Conflict():
            return UnsupportedOperationError(error.message, data)
    return InternalError(error.message, data)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except AgentNodeError as error:
        raise a2a_error(error) from None
    except A2AError:
        raise
    except Exception as error:
        # What a foreign error says may be content or a secret: it goes neither out nor into the log.
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else "?"
        logger.error("an A2A request broke: %s at %s", type(error).__name__, where)
        raise InternalError("INTERNAL: the request could not be served", {"code": "INTERNAL"}) from None


def _answers(method: Callable[_P, Coroutine[Any, Any, _T]]) -> Callable[_P, Coroutine[Any, Any, _T]]:
    @functools.wraps(method)
    async def translated(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with _translated():
            return await method(*args, **kwargs)

    return translated


class NodeRequestHandler(RequestHandler):
    """What the card says. The context's state carries `caller` and `body`, and takes what HTTP is to say."""

    def __init__(self, runtime: TaskRuntime, protos: Protos, extended: ExtendedCard | None) -> None:
        self._runtime = runtime
        self._protos = protos
        self._extended = extended

    @_answers
    async def on_message_send(self, params: pb.SendMessageRequest, context: ServerCallContext) -> pb.Task | pb.Message:
        _check_message(params)
        wait = not params.configuration.return_immediately
        view = await self._runtime.send(self._incoming(params, context), _caller(context), wait)
        return self._protos.answer(view, _history_length(params.configuration))

    async def on_message_send_stream(
        self, params: pb.SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[ProtoEvent, None]:
        with _translated():
            _check_message(params)
            steps = self._runtime.stream_numbered(self._incoming(params, context), _caller(context))
            sent = self._sent(steps, context, history_length=_history_length(params.configuration))
            async with contextlib.aclosing(sent) as events:
                async for event in events:
                    yield event

    async def on_subscribe_to_task(
        self, params: pb.SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[ProtoEvent, None]:
        with _translated():
            validate_proto_required_fields(params)
            after_seq = _last_event_id(context)
            view = {} if after_seq is None else (await self._runtime.snapshot(params.id, _caller(context))).view
            steps = self._runtime.subscribe_numbered(params.id, _caller(context), after_seq)
            async with contextlib.aclosing(self._sent(steps, context, view)) as events:
                async for event in events:
                    yield event

    @_answers
    async def on_get_task(self, params: pb.GetTaskRequest, context: ServerCallContext) -> pb.Task | None:
        validate_proto_required_fields(params)
        validate_history_length(params)
        view = await self._runtime.get(params.id, _caller(context))
        return self._protos.task(view, _history_length(params))

    @_answers
    async def on_list_tasks(self, params: pb.ListTasksRequest, context: ServerCallContext) -> pb.ListTasksResponse:
        validate_history_length(params)
        if params.HasField("page_size"):
            validate_page_size(params.page_size)
        which = _filter(params)
        found, total = await self._runtime.page(which, _caller(context))
        history_length = _history_length(params)
        full = len(found) == which.limit
        last = found[-1].task if found and full else None
        return pb.ListTasksResponse(
            tasks=[self._protos.task(each.view, history_length) for each in found],
            next_page_token=_token(last.status_at_us, last.id) if last else "",
            page_size=which.limit,
            total_size=total,
        )

    @_answers
    async def on_cancel_task(self, params: pb.CancelTaskRequest, context: ServerCallContext) -> pb.Task | None:
        validate_proto_required_fields(params)
        return self._protos.task(await self._runtime.cancel(params.id, _caller(context)))

    @_answers
    async def on_create_task_push_notification_config(
        self, params: pb.TaskPushNotificationConfig, context: ServerCallContext
    ) -> pb.TaskPushNotificationConfig:
        if _dialect(context) == "0.3" and not params.authentication.scheme:
            params.ClearField("authentication")  # there it may be empty
        validate_proto_required_fields(params)
        asked = push_config(params, _dialect(context))
        return push_proto(await self._runtime.telling.create(asked, _caller(context)))

    @_answers
    async def on_get_task_push_notification_config(
        self, params: pb.GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> pb.TaskPushNotificationConfig:
        config_id = params.id or DEFAULT_ID  # 0.3 may leave it out
        return push_proto(await self._runtime.telling.get(params.task_id, config_id, _caller(context)))

    @_answers
    async def on_list_task_push_notification_configs(
        self, params: pb.ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> pb.ListTaskPushNotificationConfigsResponse:
        validate_proto_required_fields(params)
        found = await self._runtime.telling.all(params.task_id, _caller(context))
        return pb.ListTaskPushNotificationConfigsResponse(configs=[push_proto(each) for each in found])

    @_answers
    async def on_delete_task_push_notification_config(
        self, params: pb.DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        validate_proto_required_fields(params)
        await self._runtime.telling.delete(params.task_id, params.id, _caller(context))

    @_answers
    async def on_get_extended_agent_card(
        self, params: pb.GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> pb.AgentCard:
        if self._extended is None:
            raise ExtendedAgentCardNotConfiguredError
        try:
            return await self._extended.of(_caller(context), self._protos.numbers, sign=_dialect(context) == "1.0")
        except KeyInvalid as unknown:
            context.state["unknown"].append(unknown)
            raise

    def _incoming(self, params: pb.SendMessageRequest, context: ServerCallContext) -> Incoming:
        state = context.state
        key = state["headers"].get("idempotency-key")
        modes = self._runtime.input_modes
        return incoming(params, state["body"], _dialect(context), context.requested_extensions, key, modes)

    async def _sent(
        self,
        steps: AsyncGenerator[Step, None],
        context: ServerCallContext,
        view: View | None = None,
        history_length: int | None = None,
    ) -> AsyncGenerator[ProtoEvent, None]:
        """The first step is the task as it stands, unless its `view` was sent before; each one behind it an event.

        Their numbers go to the endpoint, which makes them the ids of the stream's events.
        """
        async with contextlib.aclosing(steps):
            async for seq, step in steps:
                if not view:
                    view = step
                    event: ProtoEvent | None = self._protos.answer(step, history_length)
                else:
                    event = self._protos.event(view, step)
                if event is not None:
                    context.state["sent"].append(seq)
                    yield event


def _dialect(context: ServerCallContext) -> str:
    # In JSON-RPC the method's name tells the version, over HTTP the path.
    return "0.3" if "/" in context.state.get("method", "") or context.state["rest_03"] else "1.0"


def _last_event_id(context: ServerCallContext) -> int | None:
    said = context.state["headers"].get("last-event-id")
    if said is None:
        return None
    if not (said.isascii() and said.isdigit() and len(said) < 16):
        raise InvalidParamsError("Last-Event-ID is not one that this agent gave", {"field": "Last-Event-ID"})
    return int(said)


def _caller(context: ServerCallContext) -> Caller:
    caller = context.state["caller"]
    assert isinstance(caller, Caller)
    return caller


def _check_message(params: pb.SendMessageRequest) -> None:
    message = params.message
    sound = message.message_id and message.parts and all(part.WhichOneof("content") for part in message.parts)
    if not sound or message.role == pb.Role.ROLE_UNSPECIFIED:
        validate_proto_required_fields(params)  # walks the whole message by reflection, so only to name what is missing
        raise InvalidParamsError("every part must have content", {"field": "message.parts"})
    if message.role != pb.Role.ROLE_USER:
        raise InvalidParamsError("a client's message has the role of the user", {"field": "message.role"})
    validate_history_length(params.configuration)


def _history_length(asked: Any) -> int | None:
    return asked.history_length if asked.HasField("history_length") else None


def _filter(params: pb.ListTasksRequest) -> Filter:
    before = None
    if params.page_token:
        before = _position(params.page_token)
    after = params.status_timestamp_after if params.HasField("status_timestamp_after") else None
    return Filter(
        context_id=params.context_id or None,
        state=_state(params.status) if params.status else None,
        status_after_us=after.seconds * SECOND_US + after.nanos // 1_000 if after is not None else None,
        before=before,
        limit=params.page_size if params.HasField("page_size") else _PAGE,
    )


def _position(token: str) -> tuple[int, str]:
    """Behind which task a page begins. A token of ours is short; a longer one may be nested too deep to be read."""
    cursor = decode_list_tasks_cursor(token) if len(token) <= _LONGEST_TOKEN else None
    if cursor is None or not 0 <= (cursor.timestamp_ns or -1) < 2**63 or not cursor.task_id.isprintable():
        raise InvalidParamsError("pageToken is not one that this agent gave", {"field": "pageToken"})
    return (cursor.timestamp_ns or 0) // 1_000, cursor.task_id


def _state(state: int) -> str:
    return state_of_proto(state) or "none"


def _token(status_at_us: int, task_id: str) -> str:
    return encode_list_tasks_cursor(ListTasksCursor(status_at_us * 1_000, task_id))
