"""The card: one document for two readers, and the pure one, with the headers that caches need."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
import rfc8785
from a2a.compat.v0_3 import types as types_v03
from a2a.types import a2a_pb2 as pb
from a2a_world import CARD_DID, Rpc
from google.protobuf.json_format import ParseDict

from agentnode.payments import X402_EXTENSION_URIS
from trust.errors import SignatureInvalid
from trust.signatures import jws

ROOT = "/.well-known/agent-card.json"
EXTENDED = "/api/a2a/rest/extendedAgentCard"
PURE = "/api/a2a/.well-known/agent-card.json"


@pytest.mark.parametrize("path", [ROOT, "/.well-known/agent.json"])
async def test_the_root_card_parses_under_both_models(origin: str, http: httpx.AsyncClient, path: str) -> None:
    """0.3 clients find their fields, 1.0 clients theirs, in one document."""
    card = (await http.get(origin + path)).json()
    old = types_v03.AgentCard.model_validate(card)
    assert (old.url, old.protocol_version, old.preferred_transport) == (f"{origin}/api/a2a", "0.3", "JSONRPC")
    new = ParseDict(card, pb.AgentCard(), ignore_unknown_fields=True)
    assert [(each.protocol_binding, each.protocol_version) for each in new.supported_interfaces] == [
        ("JSONRPC", "1.0"),
        ("JSONRPC", "0.3"),
        ("HTTP+JSON", "1.0"),
        ("HTTP+JSON", "0.3"),
    ]


async def test_the_pure_card_has_no_field_of_0_3(origin: str, http: httpx.AsyncClient) -> None:
    """With the version header, and under the endpoint's path, nothing that the 1.0 schema does not know."""
    by_header = await http.get(origin + ROOT, headers={"A2A-Version": "1.0"})
    by_path = await http.get(origin + PURE)
    one, other = by_header.json(), by_path.json()
    assert one.pop("signatures") and other.pop("signatures")  # each worker makes its own
    assert one == other
    ParseDict(by_path.json(), pb.AgentCard())  # refuses unknown fields
    assert by_header.headers["vary"] == (await http.get(origin + ROOT)).headers["vary"] == "A2A-Version"


async def test_the_card_says_what_is_so(origin: str, http: httpx.AsyncClient, rpc: Rpc) -> None:
    """Streaming, push, an extended card, the three x402 URIs not required, prices in words; and that holds."""
    card = (await http.get(origin + PURE)).json()
    capabilities = card["capabilities"]
    assert capabilities["streaming"] is True and capabilities["pushNotifications"] is True
    assert capabilities["extendedAgentCard"] is True
    assert set(card["securitySchemes"]) == {"apiKey", "wallet"} and "securityRequirements" not in card
    assert [each["uri"] for each in capabilities["extensions"]] == list(X402_EXTENSION_URIS)
    assert not [each for each in capabilities["extensions"] if each.get("required")]
    told = {skill["id"]: skill["description"] for skill in card["skills"]}
    assert "0.01 USD" in told["ask"] and "Free" in told["echo"]


AS_ALICE, AS_PAYER = {"Authorization": "Bearer alice"}, {"SIGN-IN-WITH-X": "0xab"}


def about_in(card: dict[str, Any]) -> dict[str, Any]:
    """What holds for the caller."""
    [extension] = [each for each in card["capabilities"]["extensions"] if each["uri"] == "urn:agentnode:caller"]
    params: dict[str, Any] = extension["params"]
    return params


async def test_the_extended_card_is_its_callers_own(origin: str, http: httpx.AsyncClient, rpc: Rpc, rpc03: Rpc) -> None:
    """The public card and what holds for who asks, over both bindings in both versions; numbers as they are."""
    public = (await http.get(origin + PURE)).json()
    for headers, told in ((AS_ALICE, ("alice", "")), (AS_PAYER, ("public", "0xab"))):
        cards = [
            await rpc.call("GetExtendedAgentCard", {}, **headers),
            (await http.get(origin + EXTENDED, headers={"A2A-Version": "1.0", **headers})).json(),
            await rpc03.call("agent/getAuthenticatedExtendedCard", {}, **headers),
            (await http.get(f"{origin}/api/a2a/rest/v1/card", headers=headers)).json(),
        ]
        for card in cards:
            about = about_in(card)
            assert (about["tenant_id"], about.get("payer", "")) == told
            assert json.dumps(about["limits"], sort_keys=True) == '{"concurrent": 2, "per": 0.5}'
            assert [each["id"] for each in card["skills"]] == [each["id"] for each in public["skills"]]
        for card in cards[:2]:
            assert verified(card)["capabilities"]["extensions"][-1]["params"] == about
        assert not any("signatures" in card for card in cards[2:])


async def test_the_extended_card_is_for_nobody_else(origin: str, http: httpx.AsyncClient, rpc: Rpc, rpc03: Rpc) -> None:
    """Who is nobody is told by HTTP, in every version and binding, that it must say who it is."""
    answers = [
        await rpc.post("GetExtendedAgentCard", {}),
        await http.get(origin + EXTENDED, headers={"A2A-Version": "1.0"}),
        await rpc03.post("agent/getAuthenticatedExtendedCard", {}),
        await http.get(f"{origin}/api/a2a/rest/v1/card"),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "KEY_INVALID")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_caches_can_ask_again(origin: str, http: httpx.AsyncClient) -> None:
    """ETag and 304, a bounded age, a date of the last change."""
    first = await http.get(origin + ROOT)
    assert "max-age=" in first.headers["cache-control"]
    assert first.headers["last-modified"].endswith("GMT")
    again = await http.get(origin + ROOT, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = await http.get(origin + ROOT, headers={"If-None-Match": first.headers["etag"], "A2A-Version": "1.0"})
    assert other.status_code == 200


async def test_the_pure_card_is_signed(origin: str, http: httpx.AsyncClient) -> None:
    """Its signature verifies from the received JSON with the node's key; of another card it does not."""
    card = (await http.get(origin + PURE)).json()
    unsigned = {key: value for key, value in card.items() if key != "signatures"}
    assert verified(card) == unsigned
    with pytest.raises(SignatureInvalid):
        verified({**card, "name": "Another"})
    assert "signatures" not in (await http.get(origin + ROOT)).json()


def verified(card: dict[str, Any]) -> dict[str, Any]:
    """What the node has signed of the card as it was received. Raises SignatureInvalid."""
    [signature] = card["signatures"]
    payload = rfc8785.dumps({key: value for key, value in card.items() if key != "signatures"})
    body = base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
    return jws.verify(f"{signature['protected']}.{body}.{signature['signature']}", did=CARD_DID, typ="JOSE")
