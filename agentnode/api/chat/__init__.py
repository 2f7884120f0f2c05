"""OpenAI's face of the engine: `POST chat/completions`, at `/v1` and `/api/v2`, with a key or paid by the call."""

from __future__ import annotations

from agentnode.api.chat.body import MAX_BODY_BYTES
from agentnode.api.chat.endpoint import PATHS, ChatCompletions, Shortcut, routes
from agentnode.api.chat.idempotency import FirstReplies
from agentnode.api.chat.pay_per_call import PayPerCall
from agentnode.api.chat.serving import Serving

__all__ = [
    "MAX_BODY_BYTES",
    "PATHS",
    "ChatCompletions",
    "FirstReplies",
    "PayPerCall",
    "Serving",
    "Shortcut",
    "routes",
]
