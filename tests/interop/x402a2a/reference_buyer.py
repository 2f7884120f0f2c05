"""Buys a task with the classes of the reference library, or a POST with those of x402 0.3, each as it is.

`reference_buyer.py task|http URL PRIVATE_KEY TEXT`, in the environment of requirements.lock; the chain's RPC is in
RPC_URL. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from typing import Any

import httpx
from eth_account import Account


async def task(url: str, account: Any, text: str) -> dict[str, Any]:
    from a2a.client import A2ACardResolver, A2AClient
    from a2a.types import (
        GetTaskRequest,
        Message,
        MessageSendParams,
        Part,
        SendMessageRequest,
        TaskQueryParams,
        TextPart,
    )
    from x402_a2a import (
        add_extension_activation_header,
        create_payment_submission_message,
        process_payment_required,
        x402Utils,
    )

    said = x402Utils()
    async with httpx.AsyncClient(headers=add_extension_activation_header({}), timeout=60) as http:
        client = A2AClient(http, await A2ACardResolver(http, url).get_agent_card())

        async def send(message: Message) -> Any:
            request = SendMessageRequest(id=str(uuid.uuid4()), params=MessageSendParams(message=message))
            return (await client.send_message(request)).root.result

        parts = [Part(root=TextPart(text=text))]
        asked = await send(Message(message_id=str(uuid.uuid4()), role="user", parts=parts))
        required = said.get_payment_requirements(asked)
        payload = process_payment_required(required, account)
        stands = await send(create_payment_submission_message(asked.id, payload))
        while stands.status.state.value in ("submitted", "working"):
            await asyncio.sleep(0.1)
            query = GetTaskRequest(id=str(uuid.uuid4()), params=TaskQueryParams(id=asked.id))
            stands = (await client.get_task(query)).root.result
    receipt = said.get_latest_receipt(stands)
    return {
        "asked": required.accepts[0].model_dump(by_alias=True),
        "state": stands.status.state.value,
        "payment": said.get_payment_status(stands).value,
        "receipt": receipt and receipt.model_dump(by_alias=True),
        "text": "".join(part.root.text for part in stands.artifacts[0].parts),
    }


async def over_http(url: str, account: Any, text: str) -> dict[str, Any]:
    from x402.clients.base import decode_x_payment_response
    from x402.clients.httpx import x402HttpxClient

    body = {"messages": [{"role": "user", "content": text}], "max_tokens": 20}
    async with x402HttpxClient(account=account, base_url=url, timeout=60) as http:
        answer = await http.post("/v1/chat/completions", json=body)
        content = json.loads(await answer.aread())
    settled = decode_x_payment_response(answer.headers["X-Payment-Response"])
    return {"status": answer.status_code, "receipt": settled, "text": content["choices"][0]["message"]["content"]}


if __name__ == "__main__":
    what, where, key, words = sys.argv[1:]
    bought = {"task": task, "http": over_http}[what](where, Account.from_key(key), words)
    print(json.dumps(asyncio.run(bought)))
