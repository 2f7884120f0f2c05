"""The engine: quote, complete, stream. Every call is bounded, held, journaled and priced before it is sent."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import orjson

from engine.catalog import Catalog, Model
from engine.completion import Account, Call, Chunk, Completion, Quote
from engine.errors import ModelUnavailable, ModelUnknown
from engine.guard import bound
from engine.metered import LEASE_S, MeteredCall, Settled
from engine.providers import PATIENT, Piece, Provider, Providers
from engine.request import CompletionRequest
from engine.routing import Candidate, choose
from engine.usage import Usage
from ledger.clock import Clock
from ledger.errors import InvalidInput
from ledger.spend import Spend


class Engine:
    """LLM work on account. Metadata only: no prompt and no answer is kept or logged here."""

    def __init__(
        self, spend: Spend, catalog: Catalog, providers: Providers, clock: Clock, *, lease_s: float = LEASE_S
    ) -> None:
        self._spend, self._catalog, self._providers, self._clock = spend, catalog, providers, clock
        self._lease_s = lease_s

    async def quote(self, request: CompletionRequest) -> Quote:
        """What the request can cost at most, and with whom.

        Raises ModelUnknown for a model that no catalog prices, ModelUnavailable where nothing here can serve it,
        InvalidInput where the model that was named cannot do what is asked.
        """
        ranked = self._ranked(request)
        first = ranked[0]
        return Quote(
            bound_usd_nanos=first.bound.usd_nanos,
            model=first.model.id,
            provider=first.model.provider,
            price_version=first.model.price.version,
            candidates=tuple(ranked),
        )

    async def complete(self, request: CompletionRequest, account: Account, call: Call) -> Completion:
        """The whole answer, captured. Raises what `quote` does, BudgetRefused, and UpstreamError leaves."""
        chosen, provider = self._chosen(request)
        began_us = self._clock.now_us()
        async with self._metered(chosen, request, account, call) as metered:
            await metered.sent()
            sent_us = self._clock.now_us()
            answer = await provider.complete(chosen.model, request, chosen.bound.max_tokens, PATIENT)
            answered_us = self._clock.now_us()
            for choice in answer.choices:
                metered.saw(_size(choice["message"]))
            settled = await metered.capture(answer.usage)
        first = answer.choices[0]
        return self._completion(
            metered.event_id,
            chosen.model,
            text=first["message"].get("content") or "",
            finish_reason=first["finish_reason"],
            settled=settled,
            began_us=began_us,
            provider_us=answered_us - sent_us,
            choices=answer.choices,
        )

    async def stream(self, request: CompletionRequest, account: Account, call: Call) -> AsyncGenerator[Chunk, None]:
        """The answer in chunks; the last one is sent after the capture and carries the completion.

        Raises what `complete` does. An answer that breaks off raises an UpstreamError with `charged_usd_nanos`, and
        closing the generator (or cancelling who iterates) stops the upstream and captures what was produced.
        """
        chosen, provider = self._chosen(request)
        began_us = self._clock.now_us()
        async with self._metered(chosen, request, account, call) as metered:
            await metered.sent()
            sent_us = self._clock.now_us()
            text: list[str] = []
            last: list[Piece] = []
            usage: Usage | None = None
            upstream = provider.stream(chosen.model, request, chosen.bound.max_tokens, PATIENT)
            async with contextlib.aclosing(upstream) as pieces:
                async for piece in pieces:
                    usage = piece.usage or usage
                    await metered.produced(sum(_size(choice["delta"]) for choice in piece.choices))
                    text.append(_text(piece))
                    if piece.finishes or last:
                        last.append(piece)  # held back, for the totals ride on the finish
                    elif piece.choices:
                        yield Chunk(_text(piece), piece.choices)
            provider_us = self._clock.now_us() - sent_us
            settled = await metered.capture(usage)
        finish = [choice for piece in last for choice in piece.choices]
        reason = next((choice["finish_reason"] for choice in finish if choice.get("finish_reason")), "stop")
        whole = "".join(text)
        completion = self._completion(
            metered.event_id,
            chosen.model,
            text=whole,
            finish_reason=reason,
            settled=settled,
            began_us=began_us,
            provider_us=provider_us,
            choices=[{"index": 0, "message": {"role": "assistant", "content": whole}, "finish_reason": reason}],
        )
        yield Chunk("".join(_text(piece) for piece in last), finish, reason, completion)

    async def close(self) -> None:
        await self._providers.close()

    def models(self) -> list[Model]:
        """All models that can be called here, by id."""
        now_us = self._clock.now_us()
        return [model for name in self._providers.names for model in self._catalog.models(name, now_us)]

    def _metered(self, chosen: Candidate, request: CompletionRequest, account: Account, call: Call) -> MeteredCall:
        return MeteredCall(self._spend, self._clock, chosen, request, account, call, self._lease_s)

    def _chosen(self, request: CompletionRequest) -> tuple[Candidate, Provider]:
        chosen = self._ranked(request)[0]
        provider = self._providers.get(chosen.model.provider)
        assert provider is not None, chosen.model.id
        return chosen, provider

    def _ranked(self, request: CompletionRequest) -> list[Candidate]:
        if request.wanted is None:
            named = self.models()
        else:
            named = self._catalog.named(request.wanted, self._clock.now_us())
            if not named:
                raise ModelUnknown(f"no price is known for the model {request.wanted}, so it is not called")
        here = [model for model in named if self._providers.get(model.provider) is not None]
        if not here:
            raise ModelUnavailable(self._remedy(named))
        ranked = choose([Candidate(model, bound(request, model)) for model in here], request)
        if not ranked:
            needs = ", ".join(sorted(request.needs))
            if request.wanted is None:
                raise ModelUnavailable(f"no model here serves a prompt of this length with: {needs}")
            raise InvalidInput("model", f"{here[0].id} does not serve a prompt of this length with: {needs}")
        return ranked

    def _remedy(self, named: list[Model]) -> str:
        keys = sorted({key for model in named if (key := self._providers.missing_key(model.provider))})
        return f"{named[0].id} has no key here; set " + " or ".join(keys) if keys else f"{named[0].id} has no upstream"

    def _completion(
        self,
        event_id: str,
        model: Model,
        *,
        text: str,
        finish_reason: str,
        settled: Settled,
        began_us: int,
        provider_us: int,
        choices: list[dict[str, Any]],
    ) -> Completion:
        return Completion(
            id=event_id,
            provider=model.provider,
            model=model.id,
            text=text,
            finish_reason=finish_reason,
            usage=settled.usage,
            cost_usd_nanos=settled.cost_usd_nanos,
            latency_ms=max(0, self._clock.now_us() - began_us) // 1_000,
            provider_latency_ms=max(0, provider_us) // 1_000,
            choices=choices,
            estimated=settled.estimated,
            overrun_usd_nanos=settled.overrun_usd_nanos,
        )


def _text(piece: Piece) -> str:
    """Of the first choice."""
    return "".join(choice["delta"].get("content") or "" for choice in piece.choices if choice.get("index", 0) == 0)


def _size(part: dict[str, Any]) -> int:
    """Bytes of everything in a message or delta that a model wrote: text, refusals, reasoning, tool calls."""
    written = {name: value for name, value in part.items() if name != "role" and value}
    return sum(len(value.encode() if isinstance(value, str) else orjson.dumps(value)) for value in written.values())
