"""A resource server as others write it: FastAPI, the x402 package's middleware, and its own facilitator over a chain.

`official_server.py PORT RPC_URL TOKEN PAYEE` prints `ready URL`. `POST /report` costs 0.01 USDC; `/broken` too, and
fails.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException
from x402 import x402ResourceServer
from x402.facilitator import x402Facilitator
from x402.http.middleware.fastapi import payment_middleware
from x402.mechanisms.evm.exact.facilitator import ExactEvmScheme as Settling
from x402.mechanisms.evm.exact.server import ExactEvmScheme as Asking
from x402.mechanisms.evm.signers import FacilitatorWeb3Signer
from x402.schemas import AssetAmount

from agentnode.devchain import ACCOUNTS
from trust.networks import EMBEDDED


def application(rpc_url: str, token: str, payee: str) -> FastAPI:
    signer = FacilitatorWeb3Signer(ACCOUNTS[8][1], rpc_url)
    facilitator = x402Facilitator().register([EMBEDDED], Settling(signer))
    server = x402ResourceServer(facilitator).register(EMBEDDED, Asking())
    price = AssetAmount(amount="10000", asset=token, extra={"name": "USD Coin", "version": "2"})
    sold = {"accepts": {"scheme": "exact", "payTo": payee, "price": price, "network": EMBEDDED}}
    app = FastAPI()
    paid = payment_middleware({"POST /report": sold, "POST /broken": sold}, server)

    @app.middleware("http")
    async def pay(request: Any, call_next: Any) -> Any:
        return await paid(request, call_next)

    @app.post("/report")
    async def report(asked: dict[str, Any]) -> dict[str, Any]:
        return {"report": f"on {asked['about']}"}

    @app.post("/broken")
    async def broken() -> None:
        raise HTTPException(500, "broken")

    return app


class Announced(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        print(f"ready http://127.0.0.1:{port}", flush=True)


if __name__ == "__main__":
    _, asked_port, *where = sys.argv
    Announced(uvicorn.Config(application(*where), port=int(asked_port), log_level="error")).run()
