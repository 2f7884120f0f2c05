"""The chain over HTTP: JSON-RPC at `/`, what is where at `/info`, money at `/faucet`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ledger.errors import AgentNodeError, InvalidInput

from . import params as read
from .chain import DevelopmentChain
from .envelope import METHOD_NOT_FOUND, RpcError, answer_body
from .faucet import give, read_gift
from .genesis import description
from .methods import Methods
from .owner import ChainOwner
from .shapes import data


class ChainFace:
    def __init__(self, owner: ChainOwner, rpc_url: str) -> None:
        self._owner = owner
        self._rpc_url = rpc_url
        self._methods = Methods(owner.chain)

    async def rpc(self, request: Request) -> Response:
        return Response(await answer_body(await request.body(), self._answer), media_type="application/json")

    async def info(self, _: Request) -> Response:
        return JSONResponse(description(self._rpc_url, self._owner.chain.chain_id))

    async def faucet(self, request: Request) -> Response:
        try:
            document = orjson.loads(await request.body())
        except orjson.JSONDecodeError:
            raise InvalidInput("body", "must be JSON") from None
        return JSONResponse(await self._owner.run(give, self._owner.chain, read_gift(document)))

    async def _answer(self, method: str, params: list[Any]) -> Any:
        if method in self._methods.constants:
            return self._methods.constants[method]
        if method == "eth_sendRawTransaction":
            raw = read.data(read.required(params, 0, "transaction"), "transaction")
            return data(await self._owner.send(raw))
        work = self._methods.table.get(method)
        if work is None:
            raise RpcError(METHOD_NOT_FOUND, f"the method {method} does not exist/is not available")
        return await self._owner.run(work, params)


def chain_app(chain: DevelopmentChain, rpc_url: str) -> Starlette:
    """The ASGI app; it closes the chain when it stops."""
    owner = ChainOwner(chain)
    face = ChainFace(owner, rpc_url)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await owner.stop()

    return Starlette(
        routes=[
            Route("/", face.rpc, methods=["POST"]),
            Route("/info", face.info, methods=["GET"]),
            Route("/faucet", face.faucet, methods=["POST"]),
        ],
        exception_handlers={AgentNodeError: _refused},
        lifespan=lifespan,
    )


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, AgentNodeError)
    return JSONResponse({"error": error.as_dict()}, status_code=error.status)
