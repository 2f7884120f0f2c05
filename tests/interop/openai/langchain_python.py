"""LangChain's OpenAI client for Python does what its first argument says, and prints what it saw as JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import openai
from langchain_openai import ChatOpenAI

asked = json.loads(sys.argv[2])
chat = ChatOpenAI(
    model=asked["model"],
    base_url=os.environ["BASE_URL"],
    api_key=os.environ["API_KEY"],
    stream_usage=True,
    extra_body={"p402": asked["p402"]} if asked["p402"] else None,
)


def weather(city: str) -> str:
    """The weather of a city."""
    return city


def complete() -> Any:
    answer = chat.invoke(asked["text"])
    return {"text": answer.content, "tokens": answer.usage_metadata["total_tokens"]}


def stream() -> Any:
    parts = list(chat.stream(asked["text"]))
    whole = parts[0]
    for part in parts[1:]:
        whole += part
    finish = whole.response_metadata["finish_reason"]
    return {"text": whole.content, "finish": finish, "tokens": whole.usage_metadata["total_tokens"]}


def tools() -> Any:
    call = chat.bind_tools([weather]).invoke(asked["text"]).tool_calls[0]
    return {"name": call["name"], "arguments": call["args"]}


def as_json() -> Any:
    schema = {"title": "answer", "type": "object", "properties": {"answer": {"type": "number"}}}
    return chat.with_structured_output(schema, method="json_mode").invoke(asked["text"])


def refused() -> Any:
    try:
        chat.invoke(asked["text"])
    except openai.APIStatusError as error:
        return {"class": type(error).__name__, "status": error.status_code, "code": error.code}
    return "not refused"


scenarios = {"complete": complete, "stream": stream, "tools": tools, "json": as_json, "refused": refused}
print(json.dumps(scenarios[sys.argv[1]]()))
