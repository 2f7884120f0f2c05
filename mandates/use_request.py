"""What is asked of a mandate for one use, and who asks: read from JSON, hashed, and as the agent signs it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import rfc8785

from ledger.clock import SECOND_US
from ledger.errors import InvalidInput
from ledger.ids import new_id
from mandates import fields
from mandates.errors import AgentNotAllowed
from mandates.tables import MandateRow
from trust.errors import SignatureInvalid
from trust.signatures import didpkh, eip712, secp256k1

_USE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}", re.ASCII)
_MEMBERS = {
    "use_id",
    "amount_usd",
    "amount_usd_exact",
    "category",
    "description",
    "payee",
    "audience",
    "task_id",
    "item_id",
    "agent_did",
    "agent_signature",
    "expires_at",
}


@dataclass(frozen=True, kw_only=True)
class UseRequest:
    """One use. `description` is the caller's own words: it tells requests apart and is not stored."""

    amount_usd_nanos: int
    use_id: str = field(default_factory=lambda: new_id("use"))
    category: str | None = None
    description: str | None = None
    payee: str | None = None
    audience: str | None = None
    task_id: str | None = None
    item_id: str | None = None
    agent_did: str | None = None
    agent_signature: str | None = None
    expires_at_s: int | None = None
    """until when the agent's signature may be taken up"""

    @classmethod
    def parse(cls, body: Any) -> UseRequest:
        """From a body (docs/mandates.md). Raises InvalidInput naming what is missing, wrong or not understood."""
        given = fields.members(body, "use", _MEMBERS)
        amount = fields.usd(given, "amount_usd", "use")
        if not amount:
            raise InvalidInput("use.amount_usd", "must be given, and more than zero")
        payee, agent_did = given.get("payee"), given.get("agent_did")
        expires_at_us = fields.time_us(given.get("expires_at"), "use.expires_at")
        return cls(
            amount_usd_nanos=amount,
            use_id=_use_id(given),
            category=fields.optional_text(given.get("category"), "use.category"),
            description=fields.optional_text(given.get("description"), "use.description", 2_000),
            payee=None if payee is None else fields.payee(payee, "use.payee"),
            audience=fields.optional_text(given.get("audience"), "use.audience"),
            task_id=fields.optional_text(given.get("task_id"), "use.task_id"),
            item_id=fields.optional_text(given.get("item_id"), "use.item_id"),
            agent_did=None if agent_did is None else fields.did(agent_did, "use.agent_did"),
            agent_signature=fields.optional_text(given.get("agent_signature"), "use.agent_signature", 10_000),
            expires_at_s=None if expires_at_us is None else expires_at_us // SECOND_US,
        )

    def fingerprint(self) -> str:
        """Equal for the same request. Without the signature, which can be written in many ways, and its date."""
        asked = [str(self.amount_usd_nanos), self.category, self.description, self.payee]
        named = [self.audience, self.task_id, self.item_id, self.agent_did]
        return hashlib.sha256(rfc8785.dumps([*asked, *named])).hexdigest()

    def typed_data(self, mandate: MandateRow, expires_at_s: int) -> eip712.TypedData:
        message = eip712.UseMessage(
            mandate=bytes.fromhex(mandate.digest.removeprefix("0x")),
            use_id=self.use_id,
            amount_usd_nanos=self.amount_usd_nanos,
            payee=self.payee or "",
            category=self.category or "",
            audience=self.audience or "",
            expires_at_s=expires_at_s,
        )
        return eip712.use_typed_data(message, mandate.chain_id, mandate.authority)


def check_agent(mandate: MandateRow, tenant_id: str, request: UseRequest, now_s: int) -> None:
    """That the mandate's agent asks: by its signature, or by a key of the tenant that made the mandate.

    Raises AgentNotAllowed where another is named, SignatureInvalid where none or another has signed.
    """
    if request.agent_did not in (None, mandate.agent_did):
        raise AgentNotAllowed(f"the mandate was granted to {mandate.agent_did}")
    if request.agent_signature is None:
        if tenant_id != mandate.tenant_id:
            raise SignatureInvalid("the use must be signed by the mandate's agent (agent_signature; see use/prepare)")
        return
    if request.expires_at_s is None:
        raise InvalidInput("use.expires_at", "must be given with agent_signature: it is signed")
    if request.expires_at_s <= now_s:
        raise SignatureInvalid("the agent's signature was good until its expires_at, which has passed; sign again")
    if not didpkh.is_pkh(mandate.agent_did):
        raise SignatureInvalid(f"{mandate.agent_did} cannot sign typed data; use a key of the mandate's tenant")
    signer = eip712.recover(request.typed_data(mandate, request.expires_at_s), request.agent_signature)
    if not secp256k1.same_address(signer, didpkh.decode(mandate.agent_did)[1]):
        raise SignatureInvalid(f"the use is not signed by {mandate.agent_did}")


def _use_id(given: Mapping[str, Any]) -> str:
    value = given.get("use_id")
    if value is None:
        return new_id("use")
    if not isinstance(value, str) or not _USE_ID.fullmatch(value):
        raise InvalidInput("use.use_id", "must be 1 to 128 letters, digits or _ . : -")
    return value
