"""The SDK's RequestHandler over our task runtime: all eleven methods, in A2A's types and A2A's errors."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from a2a.server.context import ServerCallContext
from a2a.server.events import Event as ProtoEvent
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import ExtendedAgentCardNotConfiguredError
from a2a.utils.proto_utils import validate_proto_required_fields
from a2a.utils.task import validate_history_length

from agentnode.a2a.dialects.errors import translated, translating
from agentnode.a2a.dialects.extended_card import ExtendedCard
from agentnode.a2a.dialects.requests import (
    DEFAULT_PUSH_ID,
    history_length,
    last_event_id,
    listing,
    message,
    push_config,
)
from agentnode.a2a.dialects.responses import Protos, push_proto
from agentnode.a2a.events import View
from agentnode.a2a.incoming import Incoming
from agentnode.a2a.runtime import Step, TaskRuntime
from ledger.accounts import Caller
from ledger.errors import KeyInvalid


class NodeRequestHandler(RequestHandler):
    """What the card says. The context's state carries `caller` and `body`, and takes what HTTP is to say."""

    def __init__(self, runtime: TaskRuntime, protos: Protos, extended: ExtendedCard | None) -> None:
        self._runtime = runtime
        self._protos = protos
        self._extended = extended

    @translating
    async def on_message_send(self, params: pb.SendMessageRequest, context: ServerCallContext) -> pb.Task | pb.Message:
        wait = not params.configuration.return_immediately
        view = await self._runtime.send(self._incoming(params, context), _caller(context), wait)
        return self._protos.answer(view, history_length(params.configuration))

    async def on_message_send_stream(
        self, params: pb.SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[ProtoEvent, None]:
        with translated():
            steps = self._runtime.stream(self._incoming(params, context), _caller(context))
            sent = self._sent(steps, context, history_length=history_length(params.configuration))
            async with contextlib.aclosing(sent) as events:
                async for event in events:
                    yield event

    async def on_subscribe_to_task(
        self, params: pb.SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[ProtoEvent, None]:
        with translated():
            validate_proto_required_fields(params)
            after_seq = last_event_id(context.state["headers"])
            view = {} if after_seq is None else (await self._runtime.snapshot(params.id, _caller(context))).view
            steps = self._runtime.subscribe(params.id, _caller(context), after_seq)
            async with contextlib.aclosing(self._sent(steps, context, view)) as events:
                async for event in events:
                    yield event

    @translating
    async def on_get_task(self, params: pb.GetTaskRequest, context: ServerCallContext) -> pb.Task | None:
        validate_proto_required_fields(params)
        validate_history_length(params)
        stands = await self._runtime.snapshot(params.id, _caller(context))
        return self._protos.task(stands.view, history_length(params))

    @translating
    async def on_list_tasks(self, params: pb.ListTasksRequest, context: ServerCallContext) -> pb.ListTasksResponse:
        which = listing(params)
        found, total, more = await self._runtime.page(which, _caller(context))
        return self._protos.page(found, total, more, which.limit, history_length(params))

    @translating
    async def on_cancel_task(self, params: pb.CancelTaskRequest, context: ServerCallContext) -> pb.Task | None:
        validate_proto_required_fields(params)
        return self._protos.task(await self._runtime.cancel(params.id, _caller(context)))

    @translating
    async def on_create_task_push_notification_config(
        self, params: pb.TaskPushNotificationConfig, context: ServerCallContext
    ) -> pb.TaskPushNotificationConfig:
        if _dialect(context) == "0.3" and not params.authentication.scheme:
            params.ClearField("authentication")  # there it may be empty
        validate_proto_required_fields(params)
        asked = push_config(params, _dialect(context))
        return push_proto(await self._runtime.pushes.create(asked, _caller(context)))

    @translating
    async def on_get_task_push_notification_config(
        self, params: pb.GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> pb.TaskPushNotificationConfig:
        config_id = params.id or DEFAULT_PUSH_ID  # 0.3 may leave it out
        return push_proto(await self._runtime.pushes.get(params.task_id, config_id, _caller(context)))

    @translating
    async def on_list_task_push_notification_configs(
        self, params: pb.ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> pb.ListTaskPushNotificationConfigsResponse:
        validate_proto_required_fields(params)
        found = await self._runtime.pushes.all(params.task_id, _caller(context))
        return pb.ListTaskPushNotificationConfigsResponse(configs=[push_proto(each) for each in found])

    @translating
    async def on_delete_task_push_notification_config(
        self, params: pb.DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        validate_proto_required_fields(params)
        await self._runtime.pushes.delete(params.task_id, params.id, _caller(context))

    @translating
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
        return message(params, state["body"], _dialect(context), context.requested_extensions, key, modes)

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


def _caller(context: ServerCallContext) -> Caller:
    caller = context.state["caller"]
    assert isinstance(caller, Caller)
    return caller
