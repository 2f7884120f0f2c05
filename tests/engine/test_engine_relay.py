"""A stream on its way: the same for the caller however the upstream's bytes were cut on the way here."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.providers import Piece
from engine.providers.upstream_http import ServerSentEvents
from engine.relay import Relay
from tests.engine.world import finishes
from tests.rounds import rounds


def piece(delta: dict[str, Any], finish: str | None = None) -> Piece:
    return Piece({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


STREAM = [
    piece({"role": "assistant", "content": ""}),
    piece({"content": "one"}),
    piece({"content": " two"}),
    piece({}, "stop"),
    Piece({"choices": []}),
]
BODY = (
    b': waiting\n\ndata: {"a": 1}\r\n\r\nevent: x\ndata:{"b": 2}\n\n'
    b'data: {"c": 3}\n\ndata: [DONE]\n\ndata: {"after": 4}\n\n'
)


def cut(whole: Any, places: list[int]) -> Iterator[Any]:
    for start, end in itertools.pairwise([0, *sorted(places), len(whole)]):
        yield whole[start:end]


@given(st.lists(st.integers(0, len(STREAM)), max_size=4))
@settings(max_examples=rounds(60))
def test_nothing_goes_before_the_first_token_and_the_finish_goes_last(places: list[int]) -> None:
    relay, passed, written = Relay(1), list[Piece](), 0
    for together in cut(STREAM, places):
        written += relay.read(together)
        ready = relay.ready()
        assert not ready or written > 0
        assert not any(finishes(each) for each in ready)
        passed += ready
    assert passed + relay.rest() == STREAM[:4] and written == len("one two")
    choice = relay.answer().choices[0]
    assert choice["message"]["content"] == "one two" and choice["finish_reason"] == "stop"


@given(st.lists(st.integers(0, len(BODY)), max_size=8))
@settings(max_examples=rounds(60))
def test_events_are_the_same_however_their_bytes_are_cut(places: list[int]) -> None:
    events, came = ServerSentEvents(), list[bytes]()
    for part in cut(BODY, places):
        came += events.read(part)
        if came[-1:] == [b"[DONE]"]:
            break
    assert came == [b'{"a": 1}', b'{"b": 2}', b'{"c": 3}', b"[DONE]"]


def test_a_last_event_needs_no_line_end() -> None:
    events = ServerSentEvents()
    assert events.read(b"data: 1\nda") == [b"1"] and events.read(b"ta: 2") == []
    assert events.rest() == [b"2"] and events.rest() == []
