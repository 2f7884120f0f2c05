"""Who asks: an API key makes a `Caller`; each route names the scope that it needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Body, Depends, Request

from agentnode.payments import SignIns
from ledger.accounts import ANONYMOUS, Accounts, Caller
from ledger.errors import KeyInvalid, NotOffered

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


def authenticator(accounts: Accounts, sign_ins: SignIns | None, uri: str) -> Callable[[Request], Awaitable[Caller]]:
    """For routes that are open, and serve a key's tenant where one is sent, and what a wallet paid for that signs in.

    `uri` is what is signed in to. `sign_ins` is None on a node that cannot be paid.
    """

    async def authenticate(request: Request) -> Caller:
        caller = await caller_of(accounts, request.headers.get("authorization"))
        if "sign-in-with-x" not in request.headers:
            return caller
        if sign_ins is None:
            raise NotOffered("SIGN-IN-WITH-X", "is for what a wallet has paid, and this node cannot be paid")
        return replace(caller, payer=await sign_ins.payer(request.headers.raw, uri))

    return authenticate
