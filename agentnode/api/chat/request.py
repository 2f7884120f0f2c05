"""A body of OpenAI's chat completions, read: what is asked, how the answer is sent, and the order that it makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from agentnode.api.chat.retries import in_one_order
from engine import Call, CompletionRequest, Options, attribution_of, options_of
from ledger.accounts import Account, tightest
from ledger.errors import InvalidInput


@dataclass(slots=True)
class ChatOrder:
    """What the engine is asked for on an account, and how its answer is sent. (Frozen it would be slower to make.)"""

    request: CompletionRequest
    account: Account
    call: Call
    options: Options
    is_streamed: bool
    with_usage: bool

    @property
    def parts(self) -> tuple[CompletionRequest, Account, Call, Options]:
        """As the engine takes them."""
        return self.request, self.account, self.call, self.options


class ChatRequest:
    """The request before it is known on whose account it is. Raises InvalidInput."""

    def __init__(self, raw: bytes, *, keyed: bool) -> None:
        """`keyed`: it came under an Idempotency-Key."""
        try:
            body: Any = orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise InvalidInput("body", "is not valid JSON") from None
        self.same = in_one_order(body) if keyed else raw
        """The bytes by which an equal request is known."""
        self.request = CompletionRequest.parse(body)
        self.is_streamed, self._with_usage = _delivery_of(body, keyed)
        self.options = options_of(body)
        self.attribution = attribution_of(body)
        self._user = body.get("user")

    def on(self, account: Account, options: Options, request_id: str, **more: Any) -> ChatOrder:
        """`more`: what else the call is for."""
        call = Call(
            request_id=request_id,
            attribution=self.attribution,
            user=self._user if isinstance(self._user, str) else None,
            privacy_mode=tightest(account.policy.privacy_mode, options.privacy_mode),
            **more,
        )
        return ChatOrder(self.request, account, call, options, self.is_streamed, self._with_usage)


def _delivery_of(body: dict[str, Any], keyed: bool) -> tuple[bool, bool]:
    """Whether the answer is streamed, and with a chunk of its usage."""
    streamed, wishes = body.get("stream"), body.get("stream_options")
    if not isinstance(streamed, bool | None):
        raise InvalidInput("stream", "must be true or false")
    if not isinstance(wishes, dict | None):
        raise InvalidInput("stream_options", "must be an object")
    with_usage = wishes.get("include_usage") if wishes else None
    if not isinstance(with_usage, bool | None):
        raise InvalidInput("stream_options.include_usage", "must be true or false")
    if streamed and keyed:
        raise InvalidInput("stream", "must be false under an Idempotency-Key: only a whole answer is kept for it")
    return bool(streamed), bool(with_usage)
