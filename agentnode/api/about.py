"""What a caller may know of how the node sees it: its rights and limits, or the wallet that it has signed in with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledger.accounts import ANONYMOUS, Caller, Policies, shown

_SHOWN = ("limits", "billing", "privacy_mode")


class About:
    def __init__(self, policies: Policies, origin: str) -> None:
        self._policies, self._origin = policies, origin

    async def __call__(self, caller: Caller) -> Mapping[str, Any]:
        """`{tenant_id, key_id, scopes, limits, billing, privacy_mode}` of a key, `{payer, receipts}` of a wallet."""
        about: dict[str, Any] = {}
        if caller.tenant_id != ANONYMOUS.tenant_id and caller.key_id is not None:
            policy = shown(await self._policies.of_key(caller.tenant_id, caller.key_id))
            about = {"tenant_id": caller.tenant_id, "key_id": caller.key_id, "scopes": sorted(caller.scopes)}
            about |= {name: policy[name] for name in _SHOWN}
        if caller.payer is not None:
            about |= {"payer": caller.payer, "receipts": f"{self._origin}/api/v2/receipts"}
        return about
