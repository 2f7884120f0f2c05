"""The agent's card: one document that 0.3 and 1.0 clients both parse, and the pure 1.0 card, with cache headers.

Source: A2A 1.0 section 8 and A2A 0.3 section 5; wire.md.
"""

from __future__ import annotations

import hashlib
import json
from email.utils import formatdate
from typing import Any

from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.types import a2a_pb2 as pb
from a2a.utils.constants import VERSION_HEADER
from google.protobuf.json_format import MessageToDict
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentnode.a2a.endpoint import REST_PATH, RPC_PATH
from agentnode.a2a.skills import Skills
from agentnode.payments.metadata import X402_EXTENSION_URIS
from ledger.clock import seconds

WELL_KNOWN = ("/.well-known/agent-card.json", "/.well-known/agent.json")
PURE_PATH = f"{RPC_PATH}{WELL_KNOWN[0]}"
_CACHE_CONTROL = "public, max-age=300"


def agent_card(name: str, description: str, version: str, origin: str, skills: Skills) -> pb.AgentCard:
    """The card of a node that answers at `origin` (`https://host`). It says what is so."""
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
            extended_agent_card=False,
            extensions=[
                pb.AgentExtension(uri=uri, description="Priced skills are paid with x402.", required=False)
                for uri in X402_EXTENSION_URIS
            ],
        ),
        default_input_modes=skills.input_modes,
        default_output_modes=["text/plain"],
        skills=[
            pb.AgentSkill(
                id=skill.id,
                name=skill.name,
                description=skill.terms,
                tags=skill.tags,
                examples=skill.examples,
            )
            for skill in skills
        ],
    )


def card_routes(card: pb.AgentCard, made_at_us: int) -> list[Route]:
    pure = _Document(MessageToDict(card), made_at_us)
    dual = _Document(agent_card_to_dict(card), made_at_us)

    async def well_known(request: Request) -> Response:
        asked = request.headers.get(VERSION_HEADER) or request.query_params.get(VERSION_HEADER, "")
        return (pure if asked.split(".")[0] == "1" else dual).answer(request)

    async def pure_card(request: Request) -> Response:
        return pure.answer(request)

    return [*(Route(path, well_known) for path in WELL_KNOWN), Route(PURE_PATH, pure_card)]


class _Document:
    def __init__(self, document: dict[str, Any], made_at_us: int) -> None:
        self._body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        self._headers = {
            "ETag": f'"{hashlib.sha256(self._body).hexdigest()[:32]}"',
            "Cache-Control": _CACHE_CONTROL,
            "Last-Modified": formatdate(seconds(made_at_us), usegmt=True),
            "Vary": VERSION_HEADER,
        }

    def answer(self, request: Request) -> Response:
        known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
        if known & {self._headers["ETag"], "*"}:
            return Response(status_code=304, headers=self._headers)
        return Response(self._body, media_type="application/json", headers=self._headers)
