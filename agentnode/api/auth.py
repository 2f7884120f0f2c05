"""Who asks: an API key makes a `Caller`; each route names the scope that it needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Body, Depends, Request

from ledger.accounts import ANONYMOUS, Accounts, Caller
from ledger.errors import KeyInvalid

JsonBody = Annotated[dict[str, Any], Body()]
Needs = Callable[..., Any]
"""Called with the scopes of which one suffices."""


async def caller_of(accounts: Accounts, authorization: str | None) -> Caller:
    """The caller behind an Authorization header; anonymous without one. Raises KeyInvalid."""
    if not authorization:
        return ANONYMOUS
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise KeyInvalid("send the key as Authorization: Bearer p402_live_...")
    return await accounts.authenticate(secret.strip())


def needs(accounts: Accounts) -> Needs:
    """`needs(accounts)("mandates")` is the dependency of a route that only a key with that scope may call.

    Of several scopes one suffices. Which they are stands on the dependency as `scopes`, for the walk over all routes.
    """

    def scoped(*scopes: str) -> Any:
        async def caller(request: Request) -> Caller:
            found = await caller_of(accounts, request.headers.get("authorization"))
            if found.key_id is None:
                raise KeyInvalid("this needs an API key; make one with: agentnode keys create NAME")
            found.require_any(*scopes)
            return found

        caller.scopes = scopes  # type: ignore[attr-defined]
        return Depends(caller)

    return scoped


def authenticator(accounts: Accounts) -> Callable[[Request], Awaitable[Caller]]:
    """For routes that are open, and serve a key's tenant where one is sent."""

    async def authenticate(request: Request) -> Caller:
        return await caller_of(accounts, request.headers.get("authorization"))

    return authenticate
