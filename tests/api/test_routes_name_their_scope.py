"""Each route names the scope that it needs, or stands on the list of those that are open."""

from __future__ import annotations

from collections.abc import Iterator

from api_node import ApiNode
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Route

from agentnode.api import devchain
from ledger.accounts import SCOPES

OPEN = {
    "/.well-known/jwks.json",
    "/api/v2/health",
    "/api/v2/models",
    "/v1/models",
    "/v1/models/{model_id:path}",
    "/api/v2/bazaar/discover",
    "/api/v2/bazaar/listings",
    "/api/v2/bazaar/listings/{listing_id}",
    "/api/v2/evidence/tasks/{task_id}",
    "/api/v2/payments/{payment_id}",
    "/api/v2/payments/{payment_id}/refund",
    "/api/v2/receipts",
    "/api/v2/receipts/{receipt_id}",
    "/api/v2/receipts/{receipt_id}/charges/{event_id}",
    "/facilitator/supported",
    "/facilitator/verify",
    "/facilitator/settle",
    "/devchain",
    "/devchain/info",
    "/devchain/faucet",
    "/openapi.json",
}
"""Open without a key. The id of a payment or a task is its payer's secret."""


async def test_each_route_names_a_scope_or_is_open_by_name(node: ApiNode) -> None:
    """A route that forgot to ask for a key fails here."""
    node.app.include_router(devchain.router("http://127.0.0.1:1"))
    nameless = {
        path
        for path, route in _routes(node.app.routes)
        if not _scopes(route) and path not in OPEN and not _is_a2a(path)
    }
    assert nameless == set()
    assert {scope for _, route in _routes(node.app.routes) for scope in _scopes(route)} <= SCOPES


async def test_each_route_that_names_a_scope_refuses_who_has_no_key(node: ApiNode) -> None:
    """The name is no decoration."""
    anonymous = node.client()
    asked = [
        (method, path) for path, route in _routes(node.app.routes) if _scopes(route) for method in route.methods or ()
    ]
    assert len(asked) > 20
    for method, path in asked:
        answer = await anonymous.http.request(method, path.replace("{", "").replace("}", ""), json={})
        assert answer.status_code == 401, (method, path, answer.text)


def _routes(routes: list[BaseRoute]) -> Iterator[tuple[str, Route]]:
    for route in routes:
        inner = getattr(route, "original_router", None)
        if isinstance(route, APIRoute | Route):
            yield route.path, route
        elif inner is not None:
            yield from _routes(inner.routes)


def _scopes(route: Route) -> tuple[str, ...]:
    if not isinstance(route, APIRoute):
        return getattr(route.endpoint, "scopes", ())
    dependencies = route.dependant.dependencies
    return tuple(scope for each in dependencies for scope in getattr(each.call, "scopes", ()))


def _is_a2a(path: str) -> bool:
    """A2A and its cards: who may do what is decided by the skill that is asked for."""
    return path.startswith(("/api/a2a", "/.well-known/agent")) and not path.startswith("/api/a2a/mandates")
