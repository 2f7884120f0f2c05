"""The offline provider answers with sentences of the text it was given, and nothing else."""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import OFFLINE, CompletionRequest
from engine.providers import PATIENT, Embedder, OfflineProvider
from engine.providers.offline import split
from ledger.errors import InvalidInput
from tests.engine.world import World, ask
from tests.rounds import rounds
from tests.singly import singly

EMBEDDER = Embedder()
PROVIDER = OfflineProvider(EMBEDDER)
OIL = (
    "The cat sat on the mat. Crude oil prices rose sharply in the market today. My shoes are red! "
    "Traders said that oil prices rose on fears for supply. Is it raining? Oil in the market is priced in dollars."
)
words = st.text("abcdefg ?!.\n,é€世。", min_size=1, max_size=300).filter(lambda text: split(text) != [])


async def answer(request: CompletionRequest, max_tokens: int = 1_024) -> tuple[str, str]:
    [choice] = (await PROVIDER.complete(OFFLINE, request, max_tokens, PATIENT)).choices
    return choice["message"]["content"], choice["finish_reason"]


async def test_it_answers_with_the_most_central_sentences_in_their_order() -> None:
    text, reason = await answer(ask(OIL))
    assert split(text) == [
        "Crude oil prices rose sharply in the market today.",
        "Traders said that oil prices rose on fears for supply.",
        "Oil in the market is priced in dollars.",
    ]
    assert reason == "stop"


@settings(max_examples=rounds(60), deadline=None)
@given(words, st.integers(1, 60))
async def test_each_sentence_of_an_answer_stands_in_the_text(text: str, max_tokens: int) -> None:
    """And the answer keeps to its limit; a single sentence that is longer is cut, and says so."""
    provider = PROVIDER
    pieces = [piece async for piece in singly(provider.stream(OFFLINE, ask(text), max_tokens, PATIENT))]
    sentences = [choice["delta"]["content"].removeprefix(" ") for piece in pieces[:-1] for choice in piece.choices]
    whole = " ".join(sentences)
    assert all(sentence in text for sentence in sentences)
    assert EMBEDDER.count_tokens(whole) <= max_tokens
    [finish] = pieces[-1].choices
    if finish["finish_reason"] == "stop":
        assert set(sentences) <= set(split(text))
    else:
        assert len(sentences) == 1
    assert await answer(ask(text), max_tokens) == (whole, finish["finish_reason"])


async def test_the_same_text_has_always_the_same_answer() -> None:
    """In another process too."""
    program = (
        "import asyncio; from tests.engine.test_offline_provider import OIL, answer, ask;"
        "print(asyncio.run(answer(ask(OIL)))[0])"
    )
    run = [sys.executable, "-c", program]
    said = await asyncio.to_thread(subprocess.run, run, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == (await answer(ask(OIL)))[0]


async def test_it_reads_what_users_said_and_not_the_systems_orders() -> None:
    messages = [{"role": "system", "content": "You are a pirate."}, {"role": "user", "content": "The sea is blue."}]
    assert (await answer(CompletionRequest(messages)))[0] == "The sea is blue."
    parts = [{"type": "text", "text": "One part."}, {"type": "text", "text": "Another part."}]
    assert (await answer(CompletionRequest([{"role": "user", "content": parts}])))[0] == "One part. Another part."


@pytest.mark.parametrize("text", ["", " \n ", "\t"])
async def test_a_text_without_a_sentence_is_refused_and_costs_nothing(world: World, text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await world.complete(ask(text, model="offline/extract"))
    assert refused.value.param == "messages"
    with pytest.raises(InvalidInput, match="only one answer"):
        await world.complete(ask("Some text.", model="offline/extract", n=2))
    budget = await world.budget()
    assert (budget.spent_usd_nanos, budget.held_usd_nanos, await world.rows()) == (0, 0, [])


async def test_it_costs_so_that_budgets_run_out_offline(world: World) -> None:
    """0.10 and 0.40 USD per million of its own tokens, and it says what it is."""
    done = await world.complete(ask(OIL, model="offline/extract"))
    assert done.cost_usd_nanos == done.usage.input_tokens * 100 + done.usage.output_tokens * 400
    assert done.usage.input_tokens == EMBEDDER.count_tokens(OIL)
    assert (done.provider, done.model, done.estimated) == ("offline", "offline/extract", False)
    assert OFFLINE.description.startswith("No language model")


def test_a_sentence_ends_at_a_stop_or_a_line_and_not_inside_a_number() -> None:
    text = 'It is 3.5 miles! "Really?" he asked.\nA title without a stop\n\n世界。和平。 The end…'
    assert split(text) == [
        "It is 3.5 miles!",
        '"Really?"',
        "he asked.",
        "A title without a stop",
        "世界。",
        "和平。",
        "The end…",
    ]
    assert all(part in text for part in split(text))


def test_loading_it_leaves_the_logging_of_the_process_alone() -> None:
    """The library sets up the root logger when it is imported; that is undone."""
    program = (
        "import logging; from engine.providers import Embedder; Embedder().count_tokens('x');"
        "root = logging.getLogger(); print(len(root.handlers), root.level)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["0", str(logging.WARNING)]
    assert not re.search("INFO", said.stderr)
