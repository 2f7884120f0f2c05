"""Other facilitators carry payments; their word is checked on chain, and what may have left goes to no other."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from faulty_facilitator import (
    CLEAN,
    HANGS_UP,
    LIES,
    LIES_ABOUT_ANOTHERS,
    REFUSES_TWICE,
    SAYS_500,
    SILENT,
    FaultyFacilitator,
)
from hypothesis import given
from hypothesis import strategies as st
from payments_world import World, opened, signed_payload
from sqlmodel import text

from agentnode.payments import PaymentRefused, SettlementPending
from agentnode.payments.facilitators.remote import RemoteFacilitator
from agentnode.payments.facilitators.words import settle_word
from ledger.database import Database
from ledger.errors import InvalidInput
from tests.devchain.devchain_process import ChainProcess
from tests.trust.web_site import redirect, site

CLOSED_PORT = "http://127.0.0.1:1"


@contextlib.asynccontextmanager
async def carried(
    chain: ChainProcess, database: Database, folder: Path, *urls: str, **settings: Any
) -> AsyncIterator[World]:
    said = {"facilitator_timeout_s": 5, **settings}
    async with opened(chain, database, folder, facilitators=[{"url": url} for url in urls], **said) as world:
        world.payments.courier._ask_again_s = 0.2
        yield world


async def submitted(world: World) -> tuple[Any, Any]:
    """The payer, and what its payment came to."""
    payer, asked = world.chain.funded("1"), await world.require()
    payload = signed_payload(world.chain, payer, asked)
    try:
        return payer, await world.submit(asked, payload)
    except (SettlementPending, PaymentRefused) as refusal:
        return payer, refusal


@pytest.mark.database
@pytest.mark.parametrize("fault", [CLEAN, SAYS_500, REFUSES_TWICE, HANGS_UP])
async def test_a_payment_through_another_facilitator_is_what_the_chain_says(
    chain: ChainProcess, database: Database, tmp_path: Path, fault: str
) -> None:
    """Whatever the facilitator answers, the receipt is for the transfer that the chain shows, and there is one."""
    with FaultyFacilitator(chain) as facilitator:
        facilitator.fault = fault
        async with carried(chain, database, tmp_path, facilitator.url) as world:
            payer, receipt = await submitted(world)
            [entry] = await world.journal()
            assert (entry.point, entry.via, entry.tx_hash) == ("confirmed", facilitator.url, receipt.tx_hash)
            assert (entry.account_nonce, world.usdc(payer.address)) == (None, 990_000)


@pytest.mark.parametrize("fault", [SILENT, LIES, LIES_ABOUT_ANOTHERS])
async def test_a_word_without_a_transfer_is_neither_success_nor_refusal_until_the_window_closes(
    chain: ChainProcess, database: Database, tmp_path: Path, fault: str
) -> None:
    """Pending, though a second one stands by: it may have left. Then abandoned, and the payer kept its money."""
    with FaultyFacilitator(chain) as faulty, FaultyFacilitator(chain) as other:
        chain.funded("0")
        latest = chain.rpc("eth_getBlockByNumber", "latest", False)["result"]
        faulty.fault, faulty.anothers = fault, latest["transactions"][-1]
        async with carried(chain, database, tmp_path, faulty.url, other.url, settle_timeout_s=1) as world:
            payer, outcome = await submitted(world)
            assert isinstance(outcome, SettlementPending), outcome
            [entry] = await world.journal()
            assert entry.point == "broadcast"
            async with database.write() as session:
                await session.exec(text("UPDATE settlement SET valid_before_s = 1"))  # type: ignore[call-overload]
            ended = await world.payments.journal.ended(entry, 60)
            assert ended is not None and ended.point == "abandoned"
            assert (world.usdc(payer.address), other.asked) == (1_000_000, [])


async def test_who_cannot_be_reached_is_passed_over_and_who_refuses_too(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """Neither has sent anything: the next one carries it, and at last our own queue."""
    with FaultyFacilitator(chain) as refusing:
        refusing.fault = REFUSES_TWICE
        async with carried(chain, database, tmp_path, CLOSED_PORT, refusing.url, "own") as world:
            payer, receipt = await submitted(world)
            [entry] = await world.journal()
            assert (entry.point, entry.via, entry.account_nonce is not None) == ("confirmed", "", True)
            assert (world.usdc(payer.address), entry.tx_hash) == (990_000, receipt.tx_hash)
            assert world.payments.routes.order(entry.network)[-1] == CLOSED_PORT, "who is not well is asked last"
            await submitted(world)
            assert len(refusing.asked) == 2, "the second payment began at one that was well"


async def test_while_nobody_can_be_reached_the_payer_is_told_so_and_the_same_payload_pays_later(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """No request waits for its time-out: a refusal that names the reason, after three tries, and nothing has left."""
    async with carried(chain, database, tmp_path, CLOSED_PORT, CLOSED_PORT + "1", settle_timeout_s=60) as world:
        payer, asked = chain.funded("1"), await world.require()
        payload = signed_payload(chain, payer, asked)
        with pytest.raises(PaymentRefused, match="no facilitator was reached"):
            await world.submit(asked, payload)
        [entry] = await world.journal()
        assert (entry.point, entry.tries, world.usdc(payer.address)) == ("failed", 2, 1_000_000)
    async with carried(chain, database, tmp_path, "own") as again:
        assert (await again.submit(asked, payload)).task_id == asked.task_id


async def test_a_facilitator_stands_where_the_operator_says_and_leads_nowhere_else(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """Inside, without opening that network to strangers' URLs; its redirect is no word of the operator's."""
    with FaultyFacilitator(chain) as facilitator:
        async with carried(chain, database, tmp_path, facilitator.url, allow_nets=["10.0.0.0/8"]) as world:
            payer, receipt = await submitted(world)
            assert (world.usdc(payer.address), receipt.payer) == (990_000, payer.address.lower())
            async with site() as elsewhere, site() as moved:
                moved.answers["/supported"] = redirect(f"http://127.0.0.1:{elsewhere.port}/supported")
                remote = RemoteFacilitator(f"http://127.0.0.1:{moved.port}", world.payments.web)
                assert await remote.supported() is None
                assert (moved.connections, elsewhere.connections) == (1, 0)


async def test_supported_is_what_all_carry_and_a_foreign_network_needs_a_chain_to_check_it_on(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """A facilitator that stops naming our network gets nothing of it."""
    with FaultyFacilitator(chain, network="eip155:8453") as elsewhere:
        async with carried(chain, database, tmp_path, elsewhere.url, "own") as world:
            await world.payments.routes.refresh()
            assert world.payments.routes.order("eip155:31337") == [""]
            kinds = world.payments.open_facilitator.supported()["kinds"]
            assert [kind["network"] for kind in kinds] == ["eip155:31337"]
            await submitted(world)
            assert elsewhere.asked == []
        table = {"url": elsewhere.url, "networks": ["eip155:8453"]}
        starting = opened(chain, database, tmp_path, facilitators=[table])
        with pytest.raises(InvalidInput, match="rpc_urls"):
            await starting.__aenter__()


@given(st.integers(100, 599), st.binary(max_size=200) | st.dictionaries(st.text(), st.integers()).map(json.dumps))
def test_no_answer_but_a_named_transaction_is_taken_for_a_settlement(status: int, body: bytes | str) -> None:
    """And no 5xx, redirect or garbage for a refusal: it may have settled."""
    word = settle_word(status, body.encode() if isinstance(body, str) else body)
    assert word.kind != "settled"
    assert word.kind == "unknown" or 400 <= status < 500


async def test_a_restart_goes_on_with_what_a_facilitator_was_handed(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """The process is gone while the facilitator settles: the next one asks the chain, and nobody is asked twice."""
    with FaultyFacilitator(chain) as facilitator:
        facilitator.fault = SAYS_500
        async with carried(chain, database, tmp_path, facilitator.url) as world:
            payer, asked = chain.funded("1"), await world.require()
            payload = signed_payload(chain, payer, asked)
            paying = asyncio.create_task(world.submit(asked, payload))
            while not facilitator.asked:
                await asyncio.sleep(0.01)
            paying.cancel()
            await asyncio.gather(paying, return_exceptions=True)
        while world.usdc(payer.address) == 1_000_000:
            await asyncio.sleep(0.05)
        async with carried(chain, database, tmp_path, facilitator.url, settle_timeout_s=20) as again:
            assert (await again.submit(asked, payload)).task_id == asked.task_id
            assert (again.usdc(payer.address), len(facilitator.asked)) == (990_000, 1)
