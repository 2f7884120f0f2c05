"""A buyer over HTTP without a key: asks for a price, signs, pays; and what it reads in the answer's headers."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
from eth_account.signers.local import LocalAccount

from tests.devchain.devchain_process import ChainProcess
from tests.scenarios.node_process import payload_for
from trust.signatures import eip712, jws

CHAT = "/v1/chat/completions"


def chat(text: str = "say hi", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 20, **more}


def encoded(document: Any) -> str:
    return base64.b64encode(json.dumps(document).encode()).decode()


def decoded(answer: httpx.Response, header: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(base64.b64decode(answer.headers[header]))
    return read


def known(send: Callable[[], httpx.Response]) -> httpx.Response:
    """What it comes to, sent again while its outcome is unknown."""
    while (answer := send()).status_code in (409, 503):
        time.sleep(0.1)
    return answer


@dataclass
class Buyer:
    http: httpx.Client
    chain: ChainProcess
    account: LocalAccount

    def price(self, body: Any, path: str = CHAT) -> dict[str, Any]:
        """The `exact` requirement of version 2 that a first try is answered with."""
        asked = self.http.post(path, json=body)
        assert asked.status_code == 402, asked.text
        assert decoded(asked, "payment-required") == asked.json()
        return self.accepts(asked)

    @staticmethod
    def accepts(answer: httpx.Response, scheme: str = "exact") -> dict[str, Any]:
        return next(each for each in answer.json()["accepts"] if each["scheme"] == scheme)

    def payload(self, asked: dict[str, Any], **other: Any) -> dict[str, Any]:
        return payload_for(self.chain, self.account, asked, **other)

    def pay(self, body: Any, payload: Any, path: str = CHAT) -> httpx.Response:
        return self.http.post(path, json=body, headers={"PAYMENT-SIGNATURE": encoded(payload)})

    def paid(self, body: Any, payload: Any, path: str = CHAT) -> httpx.Response:
        """As right clients do: the same payload again until its outcome is known."""
        return known(lambda: self.pay(body, payload, path))

    def buy(self, body: Any, path: str = CHAT) -> httpx.Response:
        return self.paid(body, self.payload(self.price(body, path)), path)

    def spend(self, body: Any, settled: dict[str, Any], counter: int, path: str = CHAT) -> httpx.Response:
        return self.pay(body, self.spend_payload(self.price(body, path), settled, counter), path)

    def spend_payload(self, asked: dict[str, Any], settled: dict[str, Any], counter: int) -> dict[str, Any]:
        """A spend of the receipt in a settle response, signed by this buyer, whoever's it is."""
        authority = jws.claimed_signer(settled["receipt"])
        amount = int(asked["amount"]) * 1_000
        typed = spend_of(settled["receiptId"], counter, asked["extra"]["quoteId"], amount, authority)
        inner = {
            "receiptId": settled["receiptId"],
            "counter": counter,
            "signature": eip712.sign(typed, self.account),
        }
        return {"x402Version": 2, "accepted": {**asked, "scheme": "receipt"}, "payload": inner}


def spend_of(receipt_id: str, counter: int, quote_id: str, amount_usd_nanos: int, authority: str) -> eip712.TypedData:
    spend = eip712.SpendMessage(receipt_id, counter, quote_id, amount_usd_nanos)
    return eip712.spend_typed_data(spend, 31337, authority)
