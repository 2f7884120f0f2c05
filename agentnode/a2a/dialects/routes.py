"""What A2A serves over HTTP: the card, the SDK's routes and dispatchers, and the P402 dialect beside them."""

from __future__ import annotations

import logging

from a2a.server.context import ServerCallContext
from a2a.server.routes.common import ServerCallContextBuilder
from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.server.routes.rest_routes import create_rest_routes
from a2a.types.a2a_pb2 import AgentCard
from a2a.utils.constants import VERSION_HEADER
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from agentnode.a2a.dialects.card import REST_PATH, RPC_PATH, Sign, card_routes
from agentnode.a2a.dialects.endpoint import EXTENSION_HEADERS, Authenticate, Endpoint, asked_extensions
from agentnode.a2a.dialects.exact_numbers import Numbers
from agentnode.a2a.dialects.extended_card import About, ExtendedCard
from agentnode.a2a.dialects.handler import NodeRequestHandler
from agentnode.a2a.dialects.p402_endpoint import P402Endpoint
from agentnode.a2a.dialects.responses import Protos
from agentnode.a2a.dialects.version_03 import Adapter03, Rest03
from agentnode.a2a.runtime import TaskRuntime


def routes(
    runtime: TaskRuntime,
    card: AgentCard,
    authenticate: Authenticate,
    made_at_us: int,
    sign: Sign,
    about: About | None = None,
) -> list[BaseRoute]:
    """Everything, absolute paths. `made_at_us`: when the card last changed.

    `about` says what an extended card adds, where the card claims one.
    """
    assert card.capabilities.extended_agent_card == (about is not None), "the card tells the truth"
    extended = ExtendedCard(card, sign, about) if about is not None else None
    return [*card_routes(card, made_at_us, sign), *_endpoints(runtime, authenticate, extended)]


def _endpoints(runtime: TaskRuntime, authenticate: Authenticate, extended: ExtendedCard | None) -> list[BaseRoute]:
    """JSON-RPC at /api/a2a, with a slash too, and HTTP+JSON at /api/a2a/rest; each in 1.0 and 0.3."""
    # The SDK logs what it cannot parse, and that is what callers say: nothing of it belongs in a log.
    logging.getLogger("a2a").setLevel(logging.CRITICAL)
    numbers = Numbers()
    handler = NodeRequestHandler(runtime, Protos(numbers), extended)
    context = _Context()
    dispatcher = JsonRpcDispatcher(handler, context, enable_v0_3_compat=True)
    dispatcher._v03_adapter = Adapter03(handler, context)
    p402 = P402Endpoint(runtime)

    async def either(request: Request) -> Response:
        return await (p402.rpc(request) if await p402.speaks(request) else dispatcher.handle_requests(request))

    rpc = Endpoint(either, authenticate, numbers, rpc=True)
    routes: list[BaseRoute] = [Route(path, rpc, methods=["POST"]) for path in (RPC_PATH, f"{RPC_PATH}/")]
    routes.append(Route(f"{RPC_PATH}/stream", Endpoint(p402.stream, authenticate, numbers, rpc=True), methods=["POST"]))
    routes.append(
        Route(f"{RPC_PATH}/tasks/{{id}}", Endpoint(p402.task, authenticate, numbers, rpc=False), methods=["GET"])
    )
    # The last one is a mount of `/{tenant}` at the root of the whole app.
    rest = create_rest_routes(handler, context, path_prefix=REST_PATH)[:-1]
    rest_03 = [
        Route(REST_PATH + path, each, methods=[how]) for (path, how), each in Rest03(handler, context).routes().items()
    ]
    for route in (*rest_03, *rest):
        assert isinstance(route, Route)
        around = Endpoint(route.endpoint, authenticate, numbers, rpc=False)
        routes.append(Route(route.path, around, methods=list(route.methods or ())))
    return routes


class _Context(ServerCallContextBuilder):
    """Both header names activate extensions in every version; the protocol's version may be a query parameter."""

    def build(self, request: Request) -> ServerCallContext:
        headers = dict(request.headers)
        if version := request.query_params.get(VERSION_HEADER):
            headers.setdefault(VERSION_HEADER.lower(), version)
        rest_03 = request.url.path.startswith(f"{REST_PATH}/v1/")
        state = {"headers": headers, "caller": request.state.caller, "body": request.state.body, "rest_03": rest_03}
        state["sent"], state["unknown"] = request.state.sent, request.state.unknown
        return ServerCallContext(state=state, requested_extensions=asked_extensions(request, *EXTENSION_HEADERS))
