"""x402's extension `payment-identifier`: the payer's own name for a purchase, so that a retry is no second one. Pure.

Source: x402 specification, extensions/payment-identifier.
"""

from __future__ import annotations

import re
from typing import Any

from agentnode.payments.schemes.payload import SentPayment
from ledger.errors import InvalidInput

NAME = "payment-identifier"
_ID = re.compile(r"[A-Za-z0-9_-]{16,128}", re.ASCII)


def declared() -> dict[str, Any]:
    """As a PaymentRequired object says that names are understood."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "required": {"type": "boolean"},
            "id": {"type": "string", "minLength": 16, "maxLength": 128, "pattern": "^[a-zA-Z0-9_-]+$"},
        },
        "required": ["required"],
    }
    return {NAME: {"info": {"required": False}, "schema": schema}}


def identifier_of(sent: SentPayment) -> str | None:
    """The name that the payer gave, or None. Raises InvalidInput for one that is none."""
    extension = sent.extensions.get(NAME)
    info = extension.get("info") if isinstance(extension, dict) else None
    given = info.get("id") if isinstance(info, dict) else None
    if given is None:
        return None
    if not isinstance(given, str) or not _ID.fullmatch(given):
        raise InvalidInput(f"extensions.{NAME}.info.id", "must be 16 to 128 letters, digits, - or _")
    return given
