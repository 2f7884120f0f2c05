"""The agent's card: one document that 0.3 and 1.0 clients both parse, and the pure 1.0 card, with cache headers.

Source: A2A 1.0 section 8 and A2A 0.3 section 5.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any

from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.types import a2a_pb2 as pb
from a2a.utils.constants import VERSION_HEADER
from google.protobuf.json_format import MessageToDict
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentnode.a2a.skills import Skills
from agentnode.payments.asking.task_metadata import X402_EXTENSION_URIS
from ledger.clock import seconds
from trust.signatures import cards

RPC_PATH = "/api/a2a"
REST_PATH = f"{RPC_PATH}/rest"
SIGN_IN_PATH = f"{RPC_PATH}/sign-in"
WELL_KNOWN = ("/.well-known/agent-card.json", "/.well-known/agent.json")
PURE_PATH = f"{RPC_PATH}{WELL_KNOWN[0]}"
_CACHE_CONTROL = "public, max-age=300"

Sign = Callable[[Mapping[str, Any], str], str]
"""A compact JWS over the payload's canonical form, with a `typ` (trust.keys.NodeKeys.sign)."""


def security_schemes(origin: str, signs_in: bool) -> dict[str, pb.SecurityScheme]:
    """How a caller may say who it is, none of which is required: a tenant's key, and the wallet that paid."""
    bearer = pb.HTTPAuthSecurityScheme(scheme="Bearer", description="A tenant's API key: its own tasks and budgets.")
    schemes = {"apiKey": pb.SecurityScheme(http_auth_security_scheme=bearer)}
    if signs_in:
        wallet = pb.APIKeySecurityScheme(
            location="header",
            name="SIGN-IN-WITH-X",
            description=f"x402's sign-in-with-x: a payer lists its tasks. The challenge: {origin}{SIGN_IN_PATH}",
        )
        schemes["wallet"] = pb.SecurityScheme(api_key_security_scheme=wallet)
    return schemes


def agent_card(
    name: str,
    description: str,
    version: str,
    origin: str,
    skills: Skills,
    schemes: Mapping[str, pb.SecurityScheme] | None = None,
    extended: bool = False,
) -> pb.AgentCard:
    """The card of a node that answers at `origin` (`https://host`). It says what is so.

    `extended`: who says who it is has a card of its own.
    """
    interfaces = [
        (binding, version, path)
        for binding, path in (("JSONRPC", RPC_PATH), ("HTTP+JSON", REST_PATH))
        for version in ("1.0", "0.3")
    ]
    return pb.AgentCard(
        name=name,
        description=description,
        version=version,
        provider=pb.AgentProvider(organization=name, url=origin),
        supported_interfaces=[
            pb.AgentInterface(url=origin + path, protocol_binding=binding, protocol_version=spoken)
            for binding, spoken, path in interfaces
        ],
        capabilities=pb.AgentCapabilities(
            streaming=True,
            push_notifications=True,
            extended_agent_card=extended,
            extensions=[
                pb.AgentExtension(uri=uri, description="Priced skills are paid with x402.", required=False)
                for uri in X402_EXTENSION_URIS
            ],
        ),
        default_input_modes=skills.input_modes,
        default_output_modes=["text/plain"],
        security_schemes=schemes,
        skills=[
            pb.AgentSkill(
                id=skill.id,
                name=skill.name,
                description=skill.card_text,
                tags=skill.tags,
                examples=skill.examples,
            )
            for skill in skills
        ],
    )


def signed(card: pb.AgentCard, sign: Sign) -> dict[str, Any]:
    """The pure card as JSON, with a detached JWS over its canonical form (A2A 1.0 section 8.4, RFC 8785)."""
    document: dict[str, Any] = cards.filled(MessageToDict(card))
    protected, _, signature = sign(document, "JOSE").split(".")
    return {**document, "signatures": [{"protected": protected, "signature": signature}]}


def card_routes(card: pb.AgentCard, made_at_us: int, sign: Sign) -> list[Route]:
    """The pure card is signed. The other is not: 0.3 signs other fields, and nobody could verify both."""
    pure = _Document(signed(card, sign), made_at_us)
    dual = _Document(agent_card_to_dict(card), made_at_us)

    async def well_known(request: Request) -> Response:
        asked = request.headers.get(VERSION_HEADER) or request.query_params.get(VERSION_HEADER, "")
        return (pure if asked.split(".")[0] == "1" else dual).answer(request)

    async def pure_card(request: Request) -> Response:
        return pure.answer(request)

    return [*(Route(path, well_known) for path in WELL_KNOWN), Route(PURE_PATH, pure_card)]


class _Document:
    def __init__(self, document: dict[str, Any], made_at_us: int) -> None:
        # Each worker signs for itself and no two signatures are alike: what they say is the same.
        unsigned = json.dumps({key: value for key, value in document.items() if key != "signatures"})
        self._body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        self._headers = {
            "ETag": f'W/"{hashlib.sha256(unsigned.encode()).hexdigest()[:32]}"',
            "Cache-Control": _CACHE_CONTROL,
            "Last-Modified": formatdate(seconds(made_at_us), usegmt=True),
            "Vary": VERSION_HEADER,
        }

    def answer(self, request: Request) -> Response:
        known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
        if known & {self._headers["ETag"].removeprefix("W/"), "*"}:
            return Response(status_code=304, headers=self._headers)
        return Response(self._body, media_type="application/json", headers=self._headers)
