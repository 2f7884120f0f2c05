"""`agentnode payments` and `agentnode ledger check` on the folder of a node that was paid, and over its API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from agentnode.cli.main import app
from tests.devchain.devchain_process import ChainProcess
from tests.payments.own_transfers import claimed
from tests.scenarios.node_process import NodeProcess, payload_for, requirement


def run(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == exit_code, result.output
    return result.stdout


def test_the_operator_sees_what_was_paid_and_that_the_books_agree(chain: ChainProcess, tmp_path: Path) -> None:
    """One paid task: a row as table, as JSON and over HTTP for the operator's key only; ledger and chain agree."""
    folder, data = tmp_path / "node", ("--data", str(tmp_path / "node"))
    node = NodeProcess(folder, chain)
    try:
        assert run("payments", *data).strip() == "no payments"
        payer, task = chain.funded("1"), node.send("Which sentence counts? This one.")
        node.until(node.pay(task, payload_for(chain, payer, requirement(task)))["id"], "completed")
        page = json.loads(run("payments", "--payer", payer.address, *data, "--json"))
        assert [(row["status"], row["task_id"]) for row in page["data"]] == [("confirmed", task["id"])]
        table = run("payments", *data)
        assert "confirmed" in table and "0.01" in table and task["id"] in table

        served: list[Any] = []
        for tenant in ("node", "default"):
            key = run("keys", "create", "view", "--tenant", tenant, "--scopes", "admin", *data).strip()
            served.append(node.http.get("/api/v2/payments", headers={"Authorization": f"Bearer {key}"}))
        assert [answer.status_code for answer in served] == [200, 403]
        assert served[0].json()["data"] == page["data"]

        checked = json.loads(run("ledger", "check", "--rpc", chain.url, *data, "--json"))
        assert (checked["ok"], checked["chain_asked"], len(checked["checks"])) == (True, True, 9)

        task = node.send("And this one?")
        asked = next(
            each
            for each in task["status"]["message"]["metadata"]["x402.payment.required"]["accepts"]
            if each["scheme"] == "onchain"
        )
        node.until(node.pay(task, claimed(chain, payer, asked, 25_000))["id"], "completed")
        payment_id = json.loads(run("payments", *data, "--json"))["data"][0]["payment_id"]
        given = json.loads(run("payments", "refund", payment_id, *data, "--json"))
        assert (given["amount_usd_exact"], given["payee"]) == ("0.015", payer.address.lower())
        assert "refund of" in run("payments", *data)
    finally:
        node.stop()
    assert "the chain was not asked" in run("ledger", "check", *data)
