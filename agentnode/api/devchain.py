"""`/devchain`: the embedded chain behind the node's own port, for loopback only."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import httpx
from fastapi import APIRouter, Request, Response

from ledger.errors import NotFound
from trust.errors import ChainUnavailable


def router(rpc_url: str) -> APIRouter:
    """Passes JSON-RPC, `info` and `faucet` on to the chain's process."""
    routes = APIRouter(prefix="/devchain")
    client = httpx.AsyncClient(base_url=rpc_url, timeout=30, trust_env=False)

    async def passed_on(request: Request, path: str) -> Response:
        # The host too: a page that has its own name lead here is read by a browser of this machine.
        caller = request.client.host if request.client else ""
        if not (_is_loopback(caller) and _is_loopback(_host_of(request))):
            raise NotFound("the embedded chain answers on this machine only")
        try:
            answer = await client.request(
                request.method, path, content=await request.body(), headers={"content-type": "application/json"}
            )
        except httpx.HTTPError as error:
            raise ChainUnavailable("the embedded chain does not answer; restart the node") from error
        return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type"))

    @routes.post("")
    async def rpc(request: Request) -> Response:
        return await passed_on(request, "/")

    @routes.get("/info")
    async def info(request: Request) -> Response:
        return await passed_on(request, "/info")

    @routes.post("/faucet")
    async def faucet(request: Request) -> Response:
        return await passed_on(request, "/faucet")

    return routes


def _host_of(request: Request) -> str:
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
