"""`agentnode demo`: chain, seller and buyer as three processes; one paid task; its proof checked in a fourth."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentnode.cli.local import TENANT, NodeClient, keystore, own_key
from agentnode.cli.mandate import sign_mandate
from agentnode.cli.output import console, fail

if TYPE_CHECKING:
    from rich.console import Console

    from agentnode.cli.processes import Processes

_FOLDER = Path(".agentnode/demo")
_ALLOWANCE_USD = "0.05"
_PURSE_USD = "1"
_TEXT = (
    "Agents will soon hire other agents for small pieces of work. A card payment costs about thirty cents, which is "
    "more than most such work is worth. With x402 the seller answers a request with its price, and the buyer signs an "
    "authorisation for exactly that amount of USDC. The seller's facilitator puts it on a chain, where anybody can "
    "look it up. A mandate, signed beforehand by whose money it is, says how much an agent may spend, on what, with "
    "whom and until when. So the price is known before the work, the limit holds without trust, and both sides keep "
    "a proof. What is the main point?"
)


def demo(
    prompt: Annotated[str | None, typer.Argument(help="What the buyer asks the seller.")] = None,
) -> None:
    """Watch one agent find another, hear its price, pay it under a mandate, and prove it."""
    from agentnode.cli.processes import Processes

    shutil.rmtree(_FOLDER, ignore_errors=True)
    _FOLDER.mkdir(parents=True)
    with Processes(_FOLDER) as processes:
        story = Story(console())
        bundles = _play(story, processes, prompt or _TEXT)
        if not _check_proofs(story, bundles, processes.rpc_url):
            fail("PROOF_BROKEN: the bundle does not hold; its failed checks are above")
        story.end()


class Story:
    """The timeline: one line a step, with the seconds since it began."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._began = time.monotonic()

    def chapter(self, title: str) -> None:
        self._out.print(f"\n[bold]{title}[/]")

    def step(self, text: str, detail: str = "") -> None:
        self._out.print(f" [dim]{time.monotonic() - self._began:5.1f}s[/]  {text}", soft_wrap=True)
        if detail:
            self._out.print(f"         [dim]{detail}[/]", soft_wrap=True)

    def answer(self, text: str) -> None:
        from rich.padding import Padding
        from rich.text import Text

        self._out.print(Padding(Text(text, style="cyan"), (0, 4, 0, 9)))

    def balances(self, before: dict[str, str], after: dict[str, str], changes: dict[str, str]) -> None:
        from rich.table import Table

        table = Table("", "before", "after", "change", "", box=None, padding=(0, 1))
        for name in before:
            table.add_row(f"        {name}", before[name], after[name], changes[name], "USDC")
        self._out.print(table)

    def output(self, text: str) -> None:
        for line in text.rstrip().splitlines():
            self._out.print(f"         {line}", soft_wrap=True, markup=False)

    def end(self) -> None:
        self.chapter("Try it yourself")
        self._out.print(
            "  make up          [dim]# a node of your own on http://127.0.0.1:8402, then in another terminal:[/]\n\n"
            "  curl -s http://127.0.0.1:8402/.well-known/agent-card.json\n\n"
            "  curl -s http://127.0.0.1:8402/api/a2a -H 'Content-Type: application/json' -H 'A2A-Version: 1.0' -d '"
            '{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"metadata":{"skill":"echo"},"message":'
            '{"messageId":"1","role":"ROLE_USER","parts":[{"text":"hello"}]}}}'
            "'\n\n"
            "  curl -s http://127.0.0.1:8402/api/a2a -H 'Content-Type: application/json' -d '"
            '{"jsonrpc":"2.0","id":1,"method":"message/send","params":{"message":'
            '{"messageId":"2","role":"user","parts":[{"kind":"text","text":"What does this cost?"}]}}}'
            "'\n",
            soft_wrap=True,
        )


def _play(story: Story, processes: Processes, prompt: str) -> list[Path]:
    story.chapter("Three processes")
    chain = processes.start_chain()
    token = chain["usdc"]
    story.step(
        f"chain    {processes.rpc_url}", f"an EVM chain of its own, id {chain['chain_id']}; USDC at {token['address']}"
    )
    seller_data, buyer_data = _FOLDER / "seller", _FOLDER / "buyer"
    seller_url, buyer_url = processes.start_nodes(seller_data, buyer_data)
    story.step(f"seller   {seller_url}", "sells the skill `ask`")
    story.step(f"buyer    {buyer_url}", "will hire it")

    seller_settings, buyer_settings = processes.settings(seller_data), processes.settings(buyer_data)
    with own_key(seller_settings) as seller_key, own_key(buyer_settings) as buyer_key:
        seller, buyer = NodeClient(seller_url, seller_key), NodeClient(buyer_url, buyer_key)

        story.chapter("The seller lists what it sells")
        card = seller.call("GET", "/.well-known/agent-card.json")
        listing = seller.call(
            "POST",
            "/api/v2/bazaar/listings",
            {
                "agent_card_url": f"{seller_url}/.well-known/agent-card.json",
                "name": "Ask",
                "description": "Answers a question, or works on a text.",
                "skill": "ask",
                "price_per_call_usd": "0.01",
                "capabilities": ["chat"],
                "pay_to": keystore(seller_settings).address("node"),
            },
        )
        story.step(
            f"card {card['name']} with {', '.join(skill['id'] for skill in card['skills'])}; listed as {listing['id']}"
        )

        story.chapter("The grantor allows the buyer to spend")
        wallets = keystore(buyer_settings)
        wallet = wallets.address(TENANT) or wallets.create(TENANT)
        processes.faucet(wallet, _PURSE_USD)
        story.step(f"wallet {wallet} has {_PURSE_USD} USDC")
        limits = {
            "max_amount_usd": _ALLOWANCE_USD,
            "allowed_categories": ["agent_hire"],
            "allowed_payees": [listing["pay_to"]],
            "valid_until": int(time.time()) + 3600,
        }
        mandate = sign_mandate(buyer, wallets, chain["chain_id"], "grantor", TENANT, limits)
        story.step(
            f"mandate {mandate['id']}: {_ALLOWANCE_USD} USD, only to this seller, for an hour",
            f"signed by {mandate['user_did']} (EIP-712)",
        )

        parties = {"buyer": wallet, "seller": listing["pay_to"]}
        before = {name: processes.balance(token["address"], address) for name, address in parties.items()}
        story.chapter("The buyer hires")
        found = buyer_discovers(seller_url)
        story.step(f"discovered {found['name']} at {found['price_per_call_usd_exact']} USD a call")
        result = buyer.call(
            "POST",
            "/api/v2/bazaar/call",
            {"listing": found, "message": prompt, "mandate_id": mandate["id"], "max_price": "0.02"},
        )
        if result["status"] != "completed":
            fail(f"HIRE_FAILED: the demo's hire ended as {result['status']}; the nodes' words are in {_FOLDER}/*.log")
        payment = result["payment"]
        story.step(
            f"was asked for {payment['amount_usd_exact']} USD; the mandate allows it (use {result['mandate_use_id']})"
        )
        story.step("signed a payment of exactly that, and got its answer:")
        story.answer(_text_of(result["task"]))

        story.chapter("What happened")
        receipt = processes.rpc("eth_getTransactionReceipt", payment["tx_hash"])
        story.step(
            f"transaction {payment['tx_hash']}", f"found on the chain in block {int(receipt['blockNumber'], 16)}"
        )
        after = {name: processes.balance(token["address"], address) for name, address in parties.items()}
        changes = {name: _usdc(after[name] - before[name], signed=True) for name in parties}
        story.balances({n: _usdc(v) for n, v in before.items()}, {n: _usdc(v) for n, v in after.items()}, changes)
        spent = buyer.call("GET", f"/api/a2a/mandates/{mandate['id']}")["mandate"]
        story.step(f"mandate: {spent['amount_spent_usd_exact']} of {_ALLOWANCE_USD} USD spent")
        bundles = {
            "buyer": buyer.call("GET", f"/api/v2/evidence/calls/{result['call_id']}"),
            "seller": seller.call("GET", f"/api/v2/evidence/tasks/{result['task']['id']}"),
        }
    paths = []
    for side, text in bundles.items():
        events = text.count('"kind":"event"}') or text.count('{"event":')
        path = _FOLDER / f"proof-{side}.ndjson"
        path.write_text(text)
        paths.append(path)
        story.step(f"{side}: {events} economic event, proof in {path}")
    return paths


def buyer_discovers(bazaar_url: str) -> dict[str, Any]:
    """The first that the seller's Bazaar finds: discovery is open to everybody."""
    import httpx

    answer = httpx.get(f"{bazaar_url}/api/v2/bazaar/discover", params={"capability": "chat"}, timeout=30)
    found: dict[str, Any] = answer.raise_for_status().json()["resources"][0]
    return found


def _check_proofs(story: Story, bundles: list[Path], rpc_url: str) -> bool:
    story.chapter("Anybody can check it")
    held = True
    for path in bundles:
        story.step(f"agentnode verify {path}", "in a process of its own that knows neither node")
        command = [sys.executable, "-m", "agentnode.cli", "verify", str(path), "--rpc", rpc_url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        story.output(done.stdout or done.stderr)
        held &= done.returncode == 0
    return held


def _text_of(task: dict[str, Any]) -> str:
    parts = [part for artifact in task.get("artifacts", []) for part in artifact.get("parts", [])]
    return "".join(str(part.get("text", "")) for part in parts)


def _usdc(atomic: int, signed: bool = False) -> str:
    return f"{atomic / 10**6:+.6f}" if signed else f"{atomic / 10**6:.6f}"
