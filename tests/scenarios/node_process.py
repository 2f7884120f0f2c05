"""Nodes as their users meet them: a process, its URL, and plain A2A over it."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import Any

import httpx
from eth_account.signers.local import LocalAccount

from agentnode.settings import load
from tests.devchain.devchain_process import ChainProcess, authorization
from tests.scenarios.engine_node import EngineNode

_messages = itertools.count(1)


class NodeProcess(EngineNode):
    """A node on a folder and a chain. `crash_at` names the journal's point at which it dies; `module` is what runs."""

    def __init__(
        self,
        folder: Path,
        chain: ChainProcess,
        crash_at: str = "",
        module: str = "tests.scenarios.crashing_node",
        **settings: Any,
    ) -> None:
        self.chain = chain
        said = load({}, data=folder, chain=chain.url, port=settings.pop("port", 0), **settings)
        super().__init__(said, module, CRASH_AT=crash_at)
        self.http = httpx.Client(base_url=self.url, timeout=60)

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def rpc(self, method: str, params: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
        """An A2A 0.3 call; the whole answer."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return self.http.post("/api/a2a", json=body, headers=headers or {}).json()

    def send(self, text: str, **message: Any) -> dict[str, Any]:
        """message/send with a text; the task, or the error."""
        sent = {
            "kind": "message",
            "messageId": f"m-{os.getpid()}-{time.monotonic_ns()}-{next(_messages)}",
            "role": "user",
            "parts": [{"kind": "text", "text": text}],
            **message,
        }
        answer = self.rpc("message/send", {"message": sent})
        return answer.get("result", answer)

    def task(self, task_id: str) -> dict[str, Any]:
        answer = self.rpc("tasks/get", {"id": task_id})
        return answer.get("result", answer)

    def pay(self, task: dict[str, Any], payload: dict[str, Any]) -> dict[str, Any]:
        metadata = {"x402.payment.status": "payment-submitted", "x402.payment.payload": payload}
        return self.send("paying", taskId=task["id"], metadata=metadata)

    def until(self, task_id: str, *states: str, timeout_s: float = 60) -> dict[str, Any]:
        """The task once it is in one of these states."""
        end = time.monotonic() + timeout_s
        while (task := self.task(task_id))["status"]["state"] not in states:
            assert time.monotonic() < end, f"{task['status']} {self.log[-3_000:]}"
            time.sleep(0.1)
        return task

    def stop(self) -> int:
        self.http.close()  # else the node waits for what may be on its way
        return super().stop()


def requirement(task: dict[str, Any]) -> dict[str, Any]:
    """The x402 version 2 requirement that an input-required task carries."""
    required: dict[str, Any] = task["status"]["message"]["metadata"]["x402.payment.required"]["accepts"][0]
    return required


def payload_for(chain: ChainProcess, payer: LocalAccount, asked: dict[str, Any], **other: Any) -> dict[str, Any]:
    """What a right client sends; `other` replaces what it signs."""
    made = authorization(payer, other.pop("payee", asked["payTo"]), other.pop("value", int(asked["amount"])), **other)
    return {
        "x402Version": 2,
        "accepted": asked,
        "payload": {
            "signature": made.sign(chain.info()["usdc"]).signature.to_0x_hex(),
            "authorization": {
                "from": payer.address,
                "to": made.payee,
                "value": str(made.value),
                "validAfter": str(made.valid_after),
                "validBefore": str(made.valid_before),
                "nonce": "0x" + made.nonce.hex(),
            },
        },
    }


def usdc(chain: ChainProcess, address: str) -> int:
    return int(chain.usdc().functions.balanceOf(chain.web3.to_checksum_address(address)).call())
