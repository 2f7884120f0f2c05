"""`agentnode hire "<task>"`: find an agent, pay it within a price and a mandate, print its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from agentnode.cli.local import NodeClient, NodeSaid, node
from agentnode.cli.options import DEFAULT_DATA, Data, Json
from agentnode.cli.output import UNCLEAR, console, fail, plain, print_json
from ledger.errors import InvalidInput
from ledger.money import usd_exact, usd_nanos


def hire(
    task: Annotated[str, typer.Argument(help="What is to be done.")],
    bazaar: Annotated[str | None, typer.Option(help="The node whose Bazaar is searched.")] = None,
    agent: Annotated[str | None, typer.Option(help="An agent's URL, to hire it without a Bazaar.")] = None,
    max_price: Annotated[str | None, typer.Option(help="The most to pay, in USD.")] = None,
    mandate: Annotated[str | None, typer.Option(help="The mandate to pay under.")] = None,
    skill: Annotated[str | None, typer.Option(help="The skill to ask for.")] = None,
    card_key: Annotated[str | None, typer.Option(help="The did:key by which the agent's card must be signed.")] = None,
    proof: Annotated[Path | None, typer.Option(help="Write the proof bundle here.")] = None,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Hire an agent for a task and pay what it asks, within your limits."""
    with node(data) as client:
        body: dict[str, Any] = {"message": task, "max_price": max_price, "mandate_id": mandate, "skill": skill}
        body["card_key"] = card_key
        if agent:
            body["agent_card_url"] = agent
        else:
            body["listing"] = _cheapest(client, bazaar, max_price)
        result = client.call("POST", "/api/v2/bazaar/call", {k: v for k, v in body.items() if v is not None})
        if proof is not None and result["payment"]:
            proof.write_text(client.call("GET", f"/api/v2/evidence/calls/{result['call_id']}"))
    if json:
        print_json(result)
    elif result["status"] == "completed":
        _print(result, proof)
    if result["status"] == "pending":
        fail(
            f"SETTLEMENT_PENDING: the payment has left and is not final; the node goes on with it, "
            f"see GET /api/v2/bazaar/calls/{result['call_id']}",
            json,
            UNCLEAR,
        )
    if result["status"] == "failed":
        fail(f"HIRE_FAILED: the agent did not do it; {_why(result)}", json)


def _cheapest(client: NodeClient, bazaar: str | None, max_price: str | None) -> dict[str, Any]:
    """The listing that discovery ranks first, here or in another node's Bazaar."""
    import httpx

    wanted = {"max_price": max_price} if max_price else {}
    if bazaar:
        try:
            answer = httpx.get(f"{bazaar.rstrip('/')}/api/v2/bazaar/discover", params=wanted, timeout=30)
            found = answer.raise_for_status().json()
            if not _is_page(found):
                raise ValueError("it answers with something else")
        except (httpx.HTTPError, ValueError, RecursionError) as error:
            message = f"BAZAAR_SILENT: the Bazaar at {bazaar} did not answer; check the URL"
            raise NodeSaid({"code": "BAZAAR_SILENT", "message": message}, 502) from error
    else:
        found = client.call("GET", "/api/v2/bazaar/discover", params=wanted)
    if not found["resources"]:
        message = "NOTHING_FOUND: no listing fits; raise --max-price, or name an agent with --agent URL"
        raise NodeSaid({"code": "NOTHING_FOUND", "message": message}, 404)
    listing: dict[str, Any] = found["resources"][0]
    if bazaar and max_price is None:
        price = listing.get("price_per_call_usd_exact", listing.get("price_per_call_usd"))
        asks = usd_exact(usd_nanos(price, "listing.price_per_call_usd"))
        raise InvalidInput("--max-price", f"is needed with --bazaar: its first listing asks {asks} USD")
    return listing


def _is_page(found: Any) -> bool:
    resources = found.get("resources") if isinstance(found, dict) else None
    return isinstance(resources, list) and all(isinstance(each, dict) for each in resources)


def _print(result: dict[str, Any], proof: Path | None) -> None:
    out = console()
    for artifact in result["task"].get("artifacts", []):
        for part in artifact.get("parts", []):
            out.print(plain(str(part.get("text", part))))
    payment = result["payment"]
    if payment:
        out.print(f"\n[green]✓[/] paid {payment['amount_usd_exact']} USD in {payment['tx_hash']}", soft_wrap=True)
    if proof is not None and payment:
        out.print(f"  proof in {proof}; check it with: agentnode verify {proof}", soft_wrap=True)


def _why(result: dict[str, Any]) -> str:
    tried = result.get("attempts") or [{}]
    return str(tried[-1].get("error") or tried[-1].get("reason") or "its answer has the reason")
