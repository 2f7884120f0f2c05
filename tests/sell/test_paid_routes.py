"""Routes of an application that was there before are sold by one line of middleware; the others stay as they were."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, HTTPException
from starlette.responses import StreamingResponse

from agentnode.sell import PaidRoutes
from ledger.errors import InvalidInput
from tests.devchain.devchain_process import ChainProcess
from tests.payments.paid_http import Buyer, decoded, encoded
from tests.scenarios.node_process import usdc

PRICES = {"GET /report": "0.01", "POST /draw/*": "0.02", "/stream": "0.003", "/down": "0.001"}


def their_app(chain_url: str, data: Path) -> FastAPI:
    app = FastAPI()
    go_on = app.state.go_on = threading.Event()

    @app.get("/report")
    async def report() -> dict[str, int]:
        return {"figures": 42}

    @app.get("/free")
    async def free() -> str:
        return "for nothing"

    @app.post("/draw/{shape}")
    async def draw(shape: str, body: dict[str, str]) -> dict[str, str]:
        return {"shape": shape, "in": body["colour"]}

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one "
            await asyncio.to_thread(go_on.wait, 20)
            yield b"two"

        return StreamingResponse(parts())

    @app.get("/down")
    async def down() -> None:
        raise HTTPException(503, "later")

    app.add_middleware(PaidRoutes, prices=PRICES, chain=chain_url, data=data)
    return app


@pytest.fixture(scope="module")
def app(chain: ChainProcess, tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return their_app(chain.url, tmp_path_factory.mktemp("theirs") / "books")


@pytest.fixture(scope="module")
def buyer(app: FastAPI, chain: ChainProcess) -> Iterator[Buyer]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    with httpx.Client(base_url=url, timeout=60) as http:
        yield Buyer(http, chain, chain.funded("1"))
    server.should_exit = True
    thread.join(20)


def paid(buyer: Buyer, method: str, path: str, **request: object) -> httpx.Response:
    asked = buyer.http.request(method, path, **request)  # type: ignore[arg-type]
    assert asked.status_code == 402, asked.text
    headers = {"PAYMENT-SIGNATURE": encoded(buyer.payload(buyer.accepts(asked)))}
    return buyer.http.request(method, path, headers=headers, **request)  # type: ignore[arg-type]


def test_a_route_with_a_price_is_paid_and_then_answers_as_before(buyer: Buyer, chain: ChainProcess) -> None:
    """The settlement is in its head, the price on the payee's account; a body and a path's parameter arrive."""
    asked = buyer.accepts(buyer.http.get("/report"))
    before = usdc(chain, asked["payTo"])
    answer = paid(buyer, "GET", "/report")
    assert (answer.status_code, answer.json()) == (200, {"figures": 42})
    assert decoded(answer, "payment-response")["success"] is True
    assert usdc(chain, asked["payTo"]) - before == 10_000
    drawn = paid(buyer, "POST", "/draw/circle", json={"colour": "red"})
    assert drawn.json() == {"shape": "circle", "in": "red"} and usdc(chain, asked["payTo"]) - before == 30_000


def test_what_has_no_price_is_free(buyer: Buyer) -> None:
    assert buyer.http.get("/free").json() == "for nothing"
    assert buyer.http.get("/nothing").status_code == 404 and buyer.http.get("/draw/circle").status_code == 405


def test_a_paid_stream_streams(buyer: Buyer, app: FastAPI) -> None:
    headers = {"PAYMENT-SIGNATURE": encoded(buyer.payload(buyer.accepts(buyer.http.get("/stream"))))}
    with buyer.http.stream("GET", "/stream", headers=headers) as answer:
        parts = answer.iter_raw()
        assert next(parts) == b"one "
        app.state.go_on.set()
        assert b"".join(parts) == b"two"


def test_a_failure_leaves_the_payment_unspent(buyer: Buyer) -> None:
    """Sent again it is tried again, and costs nothing more."""
    headers = {"PAYMENT-SIGNATURE": encoded(buyer.payload(buyer.accepts(buyer.http.get("/down"))))}
    for _ in range(2):
        answer = buyer.http.get("/down", headers=headers)
        assert (answer.status_code, answer.json()) == (503, {"detail": "later"}), answer.text
        assert "payment-response" in answer.headers


async def test_nothing_with_a_price_is_served_where_nobody_could_be_paid(tmp_path: Path) -> None:
    """A server that does not run the application's lifespan opens no books."""
    transport = httpx.ASGITransport(their_app("http://127.0.0.1:1", tmp_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://theirs") as http:
        refused = await http.get("/report")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "UNAVAILABLE")
        assert (await http.get("/free")).status_code == 200


async def test_an_application_whose_chain_does_not_answer_does_not_start(tmp_path: Path) -> None:
    told: list[dict[str, str]] = []

    async def send(message: dict[str, str]) -> None:
        told.append(message)

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    await their_app("http://127.0.0.1:1", tmp_path)({"type": "lifespan"}, receive, send)  # type: ignore[arg-type]
    assert told[0]["type"] == "lifespan.startup.failed" and "CHAIN_UNAVAILABLE" in told[0]["message"]


@pytest.mark.parametrize("prices", [{"report": "0.01"}, {"GET /report": "0"}, {"GET /report": "cheap"}])
def test_a_price_that_is_none_is_refused_by_its_name(prices: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="prices"):
        PaidRoutes(FastAPI(), prices)
