"""0.3 beside 1.0: the SDK's adapters, and what they leave undone."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from a2a.compat.v0_3 import types as types_03
from a2a.compat.v0_3.jsonrpc_adapter import JSONRPC03Adapter
from a2a.compat.v0_3.request_handler import RequestHandler03
from a2a.compat.v0_3.rest_adapter import REST03Adapter
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.server.routes.common import ServerCallContextBuilder, create_event_source_response
from a2a.utils.error_handlers import rest_error_handler
from a2a.utils.errors import A2AError, InvalidParamsError
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class Handler03(RequestHandler03):
    """A stream that ends because its caller is needed says so: to 0.3 the last event of a stream is `final`."""

    async def on_message_send_stream(
        self, request: types_03.SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[types_03.SendStreamingMessageSuccessResponse, None]:
        async with contextlib.aclosing(super().on_message_send_stream(request, context)) as steps:  # type: ignore[type-var]
            async for step in steps:
                update = step.result
                waits = types_03.TaskState.input_required
                if isinstance(update, types_03.TaskStatusUpdateEvent) and update.status.state == waits:
                    update.final = True
                yield step


class Adapter03(JSONRPC03Adapter):
    """The SDK's 0.3 adapter with JSON-RPC's own code for bad parameters; a part must say its kind."""

    def __init__(self, handler: RequestHandler, context_builder: ServerCallContextBuilder) -> None:
        super().__init__(handler, context_builder)
        self.handler = Handler03(handler)

    async def handle_request(
        self, request_id: str | int | None, method: str, body: dict[str, Any], request: Request
    ) -> Any:
        try:
            model: Any = self.METHOD_TO_MODEL[method]
            model.model_validate(body)
            _check_kinds(body)
        except ValidationError as error:
            where = sorted({".".join(map(str, each["loc"])) for each in error.errors()})
            return self._generate_error_response(request_id, InvalidParamsError(data={"fields": where}))
        except A2AError as error:
            return self._generate_error_response(request_id, error)
        response: Any = await super().handle_request(request_id, method, body, request)
        if method == "tasks/pushNotificationConfig/delete" and b'"error"' not in response.body:
            # The SDK leaves null members out, and an answer without a result is not JSON-RPC.
            return JSONResponse({"jsonrpc": "2.0", "id": request_id, "result": None})
        return response


class Rest03(REST03Adapter):
    """The SDK's 0.3 adapter over HTTP+JSON; a stream that is refused is an error, not a broken body."""

    def __init__(self, handler: RequestHandler, context_builder: ServerCallContextBuilder) -> None:
        super().__init__(handler, context_builder)
        self.handler.handler03 = Handler03(handler)

    def routes(self) -> dict[tuple[str, str], Callable[[Request], Any]]:
        delete = functools.partial(self._handle_request, self._delete_push)
        return {**super().routes(), ("/v1/tasks/{id}/pushNotificationConfigs/{push_id}", "DELETE"): delete}

    async def _delete_push(self, request: Request, context: ServerCallContext) -> dict[str, Any]:
        named = {"id": request.path_params["id"], "pushNotificationConfigId": request.path_params["push_id"]}
        params = types_03.DeleteTaskPushNotificationConfigParams.model_validate(named)
        asked = types_03.DeleteTaskPushNotificationConfigRequest(id="", params=params)
        await self.handler.handler03.on_delete_task_push_notification_config(asked, context)
        return {}

    @rest_error_handler
    async def _handle_request(
        self, method: Callable[[Request, ServerCallContext], Awaitable[Any]], request: Request
    ) -> Response:
        with _understood():
            return JSONResponse(await method(request, self._context_builder.build(request)))

    async def _handle_streaming_request(
        self, method: Callable[[Request, ServerCallContext], AsyncIterable[Any]], request: Request
    ) -> Any:
        return await self._streamed(method, request)

    @rest_error_handler
    async def _streamed(
        self, method: Callable[[Request, ServerCallContext], AsyncIterable[Any]], request: Request
    ) -> Response:
        steps: Any = method(request, self._context_builder.build(request))
        with _understood():
            first = await anext(steps)

        async def events() -> AsyncIterator[dict[str, str]]:
            async with contextlib.aclosing(steps):
                yield {"data": json.dumps(first)}
                async for step in steps:
                    yield {"data": json.dumps(step)}

        return create_event_source_response(events())


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    """What the SDK cannot read of 0.3 it raises as it finds it: a part without content, a length that is no number."""
    try:
        yield
    except ValueError:
        raise InvalidParamsError("a part or a parameter is none of A2A 0.3") from None


def _check_kinds(body: dict[str, Any]) -> None:
    """The SDK takes a part without a kind for text, whatever else it says it is."""
    message = (body.get("params") or {}).get("message")
    for index, part in enumerate(message.get("parts", ()) if isinstance(message, dict) else ()):
        if "kind" not in part:
            raise InvalidParamsError(data={"fields": [f"params.message.parts.{index}.kind"]})
