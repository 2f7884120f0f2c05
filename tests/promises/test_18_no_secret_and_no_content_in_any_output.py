"""Promise 18: no secret and no content in any output: database, logs and refusals are searched for what was planted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.devchain.devchain_process import ChainProcess
from tests.forked import ran
from tests.scenarios.node_process import NodeProcess, payload_for, requirement

PROMPT = "planted-prompt-7f3a9c the quick brown fox. It jumps over dogs. Dogs sleep."
GUESSED_KEY = "p402_live_" + "5ec2e7" * 10 + "0000"
FORGED = "0x" + "c0ffee" * 21 + "c01b"


def test_what_was_planted_is_nowhere(
    chain: ChainProcess, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Every error path is fed planted keys, signatures and prompts; then everything that is written is searched."""
    folder = tmp_path / "node"
    key = _key(folder)
    node = NodeProcess(folder, chain)
    payer = chain.funded("1")
    try:
        task = node.send(PROMPT)
        good = payload_for(chain, payer, requirement(task))
        forged = {**good, "payload": {**good["payload"], "signature": FORGED}}
        refused = node.pay(task, forged)["status"]  # its history is the client's own, shown to who has the task's id
        refusals = [refused, *_errors(node, key, forged)]
        node.until(node.pay(task, good)["id"], "completed")
        node.send(PROMPT, metadata={"skill": "echo"})
        done = node.task(task["id"])
    finally:
        node.stop()

    # What was mined is on a public chain; what was refused must not be usable by whoever reads our files.
    secrets = {"key": key, "guess": GUESSED_KEY, "signature": FORGED, "payer": payer.key.hex(), "prompt": PROMPT[:22]}
    for name, planted in secrets.items():
        for answer in refusals:
            assert planted.removeprefix("0x") not in str(answer), f"{name} in {answer}"
        for path in folder.rglob("*"):
            if path.is_file():
                assert planted.removeprefix("0x").encode() not in path.read_bytes(), f"{name} in {path}"
    record_property("figure", f"{len(secrets)} secrets in none of {len(refusals)} refusals and all files")
    assert good["payload"]["signature"] not in str(done), "a task gives its payer's signature away"


def _errors(node: NodeProcess, key: str, forged: dict[str, Any]) -> list[Any]:
    """The answers of all paths that can refuse, each fed with what must not come back."""
    http, bearer = node.http, {"Authorization": f"Bearer {key}"}
    mandate = {"type": "intent", "user_did": PROMPT, "constraints": {"max_amount_usd": PROMPT}, "signature": FORGED}
    facilitate = {"x402Version": 2, "paymentPayload": forged, "paymentRequirements": forged["accepted"]}
    answers = [
        http.get("/api/a2a/mandates", headers={"Authorization": f"Bearer {GUESSED_KEY}"}),
        http.get("/api/a2a/mandates", headers={"Authorization": key}),
        http.post("/api/a2a/mandates", json={"mandate": mandate}, headers=bearer),
        http.post("/api/a2a/mandates/prepare", json={"mandate": {**mandate, "prompt": PROMPT}}, headers=bearer),
        http.post(
            "/api/a2a/mandates/mnd_0/use", json={"amount_usd": PROMPT, "agent_signature": FORGED}, headers=bearer
        ),
        http.post("/api/v2/bazaar/call", json={"message": PROMPT, "resource_id": "baz_0"}, headers=bearer),
        http.post(
            "/api/v2/bazaar/call", json={"message": PROMPT, "agent_card_url": "http://10.0.0.1/"}, headers=bearer
        ),
        http.post("/api/v2/bazaar/call", json={"message": PROMPT, "max_price": FORGED}, headers=bearer),
        http.post("/api/v2/bazaar/listings", content=f'{{"name": "{PROMPT}"', headers=bearer),
        http.post("/facilitator/verify", json=facilitate),
        http.post("/facilitator/settle", json=facilitate),
        http.post("/facilitator/settle", json={"paymentPayload": FORGED, "paymentRequirements": PROMPT}),
        http.post("/api/a2a", content=PROMPT, headers={"Content-Type": "application/json"}),
    ]
    said = [
        node.send(PROMPT, metadata={"skill": "none"}),
        node.send(PROMPT, taskId="task_none"),
        node.send(PROMPT, role=7),
    ]
    statuses = [answer.status_code for answer in answers[:-4]]
    assert all(400 <= status < 500 for status in statuses), statuses
    return [*[(answer.text, dict(answer.headers)) for answer in answers], *said]


def _key(folder: Path) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTNODE_", "P402_"))}
    return ran("agentnode.cli", "keys", "create", "planted", "--data", str(folder), environment=kept).stdout.strip()
