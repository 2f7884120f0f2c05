"""Published usages, each with its source and day, become the one canonical record."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from engine import Usage
from engine.providers import KNOWN
from engine.providers.usage_shapes import anthropic_usage_of, as_openai_states_it, usage_of

EXAMPLES = sorted((Path(__file__).parents[1] / "usage_examples").glob("*.json"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_published_usage_becomes_the_canonical_record(path: Path) -> None:
    """Its parts are disjoint and what somebody worked out by hand; said in OpenAI's form, it reads back the same."""
    example: dict[str, Any] = json.loads(path.read_text())
    assert example["source"] and re.fullmatch(r"20\d\d-\d\d-\d\d", example["date"])
    read = anthropic_usage_of if KNOWN[example["provider"]].api == "anthropic" else usage_of
    usage = read(example["usage"])
    assert usage is not None
    if "tokens" in example:
        assert usage == Usage(*example["tokens"].values())
    assert usage_of(as_openai_states_it(usage)) == usage


@pytest.mark.parametrize(
    "stated",
    [
        None,
        {},
        {"input_tokens": 1},
        {"input_tokens": 1, "output_tokens": None},
        {"input_tokens": -1, "output_tokens": 1},
        {"input_tokens": 1, "output_tokens": 1, "cache_read_input_tokens": "4"},
    ],
)
def test_an_anthropic_usage_that_is_none_is_none(stated: Any) -> None:
    assert anthropic_usage_of(stated) is None
