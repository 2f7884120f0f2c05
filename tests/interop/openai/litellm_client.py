"""LiteLLM's client does what its first argument says, and prints what it saw as JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import litellm

asked = json.loads(sys.argv[2])
parameters = {
    "model": f"openai/{asked['model']}",
    "api_base": os.environ["BASE_URL"],
    "api_key": os.environ["API_KEY"],
    "messages": [{"role": "user", "content": asked["text"]}],
    **({"extra_body": {"p402": asked["p402"]}} if asked["p402"] else {}),
}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def complete() -> Any:
    answer = litellm.completion(**parameters)
    return {"text": answer.choices[0].message.content, "tokens": answer.usage.total_tokens}


def stream() -> Any:
    chunks = list(litellm.completion(**parameters, stream=True, stream_options={"include_usage": True}))
    choices = [choice for chunk in chunks for choice in chunk.choices]
    reasons = [choice.finish_reason for choice in choices if choice.finish_reason]
    text = "".join(choice.delta.content or "" for choice in choices)
    return {"text": text, "finish": reasons[-1], "tokens": chunks[-1].usage.total_tokens}


def tools() -> Any:
    call = litellm.completion(**parameters, tools=[WEATHER]).choices[0].message.tool_calls[0].function
    return {"name": call.name, "arguments": json.loads(call.arguments)}


def as_json() -> Any:
    answer = litellm.completion(**parameters, response_format={"type": "json_object"})
    return json.loads(answer.choices[0].message.content)


def refused() -> Any:
    try:
        litellm.completion(**parameters)
    except litellm.exceptions.APIError as error:
        return {"class": type(error).__name__, "status": error.status_code, "code": error.code}
    return "not refused"


scenarios = {"complete": complete, "stream": stream, "tools": tools, "json": as_json, "refused": refused}
print(json.dumps(scenarios[sys.argv[1]]()))
