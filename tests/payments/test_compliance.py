"""Whom the operator may not deal with pays nothing and is paid nothing; what cannot be asked is not allowed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from payments_world import opened, signed_payload
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from agentnode.payments import PaymentRefused
from agentnode.payments.compliance import BlockedAddresses, ComplianceService
from agentnode.payments.errors import ComplianceBlocked, ComplianceUnchecked, GasBudgetSpent
from agentnode.payments.facilitators.gas import GasBudget
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.errors import AgentNodeError
from tests.devchain.devchain_process import ChainProcess

ALICE, BOB = "0x" + "aa" * 20, "0x" + "bb" * 20


async def test_a_listed_payer_or_payee_is_refused_without_a_restart_and_the_lists_version_is_recorded(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """The same authorisation pays once it is off the list; nothing of the try stands in the journal."""
    listed = tmp_path / "blocked.txt"
    listed.write_text("# nobody yet\n")
    async with opened(chain, database, tmp_path, compliance_file=str(listed)) as world:
        payer, asked = chain.funded("1"), await world.require()
        payload = signed_payload(chain, payer, asked)
        for address in (payer.address, asked.pay_to.lower()):
            listed.write_text(f"{BOB}\n{address}  # from now on\n")
            with pytest.raises(PaymentRefused) as told:
                await world.submit(asked, payload)
            assert (told.value.code, told.value.status) == ("COMPLIANCE_BLOCKED", 403)
        assert (await world.journal(), world.usdc(payer.address)) == ([], 1_000_000)
        listed.unlink()
        with pytest.raises(ComplianceUnchecked):
            await world.submit(asked, payload)
        listed.write_text(f"{BOB}\n")
        await world.submit(asked, payload)
        assert [entry.compliance_version for entry in await world.journal()] == [
            await BlockedAddresses(listed).check(ALICE, ALICE)
        ]


async def test_a_list_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """Without a restart, also where it is as long as before; each state has its version."""
    listed, versions = tmp_path / "list", []
    hook = BlockedAddresses(listed)
    for blocked, other in ((ALICE, BOB), (BOB, ALICE), (ALICE, BOB)):
        listed.write_text(f"{blocked}\n")
        with pytest.raises(ComplianceBlocked):
            await hook.check(blocked, other)
        versions.append(await hook.check(other, other))
    assert versions[0] == versions[2] != versions[1]


@pytest.mark.parametrize("content", [b"not an address\n", b"\xff\xfe", b"0x12\n"])
async def test_a_list_with_a_line_that_is_none_lets_nobody_through(tmp_path: Path, content: bytes) -> None:
    """Half a list would let through who stands in the other half."""
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(ComplianceUnchecked):
        await BlockedAddresses(tmp_path / "list").check(ALICE, BOB)


@pytest.fixture
async def service() -> AsyncIterator[tuple[str, list[Any]]]:
    """Answers what stands in the list: a status and a document, or None for silence."""
    says: list[Any] = []

    async def answer(request: Request) -> JSONResponse:
        status, document = says[0]
        if document is None:
            await asyncio.sleep(2)
        return JSONResponse(document, status)

    app = Starlette(routes=[Route("/", answer, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/", says
    server.should_exit = True
    await serving


@pytest.mark.parametrize(
    ("status", "document", "outcome"),
    [
        (200, {"allowed": True, "version": "7"}, "service:7"),
        (200, {"allowed": False, "reason": "sanctioned"}, ComplianceBlocked),
        (200, {"allowed": "yes"}, ComplianceUnchecked),
        (200, [], ComplianceUnchecked),
        (500, {"allowed": True}, ComplianceUnchecked),
        (200, None, ComplianceUnchecked),
    ],
)
async def test_a_service_must_say_yes_in_time(
    service: tuple[str, list[Any]], status: int, document: Any, outcome: str | type[AgentNodeError]
) -> None:
    """Silence, an error and anything but a plain yes are no."""
    url, says = service
    says.append((status, document))
    hook = ComplianceService(url, timeout_s=0.5)
    if isinstance(outcome, str):
        assert await hook.check(ALICE, BOB) == outcome
    else:
        with pytest.raises(outcome) as told:
            await hook.check(ALICE, BOB)
        assert told.value.code == "COMPLIANCE_BLOCKED"
    await hook.aclose()


async def test_the_open_facilitator_stops_where_the_days_gas_ends(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """Each is counted at the most that it promised to pay; the node's own payments are not counted."""
    async with opened(chain, database, tmp_path) as world:
        payments = world.payments
        for _ in range(60):
            chain.rpc("evm_mine")  # a young chain's gas becomes cheaper with every block
        sender, seller = payments.queue._sending.address, chain.funded("0").address
        price_wei = 400_000 * (await payments.broadcaster.terms(sender))[1].max_fee_per_gas
        gas = GasBudget(payments.journal, payments.broadcaster, SystemClock(), sender, int(price_wei * 1.1))
        payments.facilitator._gas = gas
        for settles in (True, False):
            payer, asked = chain.funded("1"), await world.require()
            accepts = {**asked.accepts_v2(), "payTo": seller}
            payload = {**signed_payload(chain, payer, asked, payee=seller), "accepted": accepts}
            settling = payments.facilitator.settle_request({"paymentPayload": payload, "paymentRequirements": accepts})
            if settles:
                assert (await settling)["success"]
            else:
                with pytest.raises(GasBudgetSpent):
                    await settling
            await world.submit(asked, signed_payload(chain, payer, asked))
