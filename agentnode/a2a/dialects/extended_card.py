"""The extended card: the public one, and what holds for who asks, which is for nobody else to know. Signed likewise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from a2a.types import a2a_pb2 as pb
from google.protobuf.struct_pb2 import Struct

from agentnode.a2a.dialects.card import Sign, signed
from agentnode.a2a.dialects.exact_numbers import Numbers
from ledger.accounts import ANONYMOUS, Caller
from ledger.errors import KeyInvalid
from trust.signatures import cards

CALLER_URI = "urn:agentnode:caller"

About = Callable[[Caller], Awaitable[Mapping[str, Any]]]
"""What a caller who is somebody may know of how the node sees it, as JSON."""


class ExtendedCard:
    def __init__(self, card: pb.AgentCard, sign: Sign, about: About) -> None:
        self._card, self._sign, self._about = card, sign, about

    async def of(self, caller: Caller, numbers: Numbers, sign: bool) -> pb.AgentCard:
        """The caller's, with its numbers hidden for the endpoint to show. Raises KeyInvalid for who is nobody.

        `sign`: as 1.0 has it; 0.3 would sign other fields.
        """
        if caller.tenant_id == ANONYMOUS.tenant_id and caller.payer is None:
            raise KeyInvalid("the extended card is its caller's own: send an API key, or sign in with a wallet")
        about: dict[str, Any] = cards.filled(dict(await self._about(caller))) or {}
        made = self._with(about)
        if sign:
            [signature] = signed(made, self._sign)["signatures"]
            made = self._with(numbers.hide(about))  # what is canonical knows 1000 and 1000.0 as one
            made.signatures.add(**signature)
            return made
        return self._with(numbers.hide(about))

    def _with(self, about: Mapping[str, Any]) -> pb.AgentCard:
        made = pb.AgentCard()
        made.CopyFrom(self._card)
        params = Struct()
        params.update(about)
        extension = pb.AgentExtension(uri=CALLER_URI, description="What holds for you here.", params=params)
        made.capabilities.extensions.append(extension)
        return made
