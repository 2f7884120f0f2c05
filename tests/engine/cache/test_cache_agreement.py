"""Two questions agree only where nothing that counts differs, whatever the vectors say."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.cache.agreement import disagreement
from engine.cache.reading import read

PLAIN = ("cat", "river", "engine", "garden", "bread", "window", "pencil", "market", "forest", "candle", "bottle")
plain_words = st.lists(st.sampled_from(PLAIN), min_size=2, max_size=8)
numbers = st.integers(0, 10**9) | st.decimals(0, 1000, places=2)


def differ(one: str, other: str) -> str | None:
    """In what they differ where every word is near every other: the worst that vectors can say."""
    return disagreement(read(one), read(other), lambda a, b: 1.0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is the capital of France?", "tell me France's capital, please"),
        ("What is the capital of France?", "Hi! Could you tell me what the capital of France is?"),
        ("How do I reverse a list in Python?", "In Python, how can I reverse a list"),
        ("Convert five miles to kilometers", "convert 5 miles into km"),
        ("What is 15% of 80?", "what's 15 percent of 80"),
        ("What does osmosis mean?", "What is the meaning of osmosis?"),
        ("Who's the mayor of Rome?", "who is the mayor of rome"),
        ("What is the color of 1,000 roses?", "what is the colour of 1000 roses"),
        ("Write me a poem about rain", "Can you write a poem about rain?"),
    ],
)
def test_other_wordings_of_one_question_agree(one: str, other: str) -> None:
    """Courtesy, frames, contractions, order of phrases, spelling, ways to write a number or a unit."""
    assert differ(one, other) is None
    assert read(one).mark == read(other).mark


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("number", "convert 5 miles to km", "convert 6 miles to km"),
        ("number", "what is new in Python 3.10", "what is new in Python 3.1"),
        ("number", "compute -5 + 2", "compute 5 + 2"),
        ("number", "who was the third king", "who was the fourth king"),
        ("number", "vitamin b12 dose", "vitamin b6 dose"),
        ("negation", "is it safe to swim here", "is it not safe to swim here"),
        ("negation", "is it safe to swim", "isn't it safe to swim"),
        ("negation", "bread with salt", "bread without salt"),
        ("unit", "what is 5 miles", "what is 5 pounds"),
        ("unit", "10 MB in bits", "10 Mb in bits"),
        ("wording", "a 5 mW laser", "a 5 MW laser"),
        ("date", "is it open on monday", "is it open on sunday"),
        ("date", "rain in march", "rain in april"),
        ("quantity", "are all cats black", "are some cats black"),
        ("name", "Who wrote Hamlet in old age?", "Who wrote Othello in old age?"),
        ("name", "tell me how tall Anna is", "tell me how tall Bert is"),
        ("language", "what is the capital of Peru", "wie ist der capital von Peru"),
        ("payload", 'translate "good morning"', 'translate "good evening"'),
        ("payload", "what does `a == b` do", "what does `a != b` do"),
        ("payload", "summarize: The dog bit the man", "summarize: The man bit the dog"),
        ("payload", "fix this\nx = 1", "fix this\nx = 2"),
        ("payload", "open https://example.com/a", "open https://example.com/b"),
        ("direction", "trains from Rome to Milan", "trains from Milan to Rome"),
        ("direction", "does coffee cause cancer", "does cancer cause coffee"),
        ("direction", "compute (2+3)*4", "compute 2+(3*4)"),
        ("wording", "who is the mayor", "who was the mayor"),
        ("quantity", "cheaper hotels in town", "cheapest hotels in town"),
        ("wording", "is a whale faster than a boat", "is a whale slower than a boat"),
        ("wording", "encrypt my file with care", "decrypt my file with care"),
        ("wording", "what is my name", "what is your name"),
        ("wording", "What is hepatitis A?", "What is hepatitis?"),
        ("name", "what does please mean", "what does just mean"),
        ("name", "how do you say please", "how do you say thanks"),
        ("wording", "what does IT do", "what does it do"),
        ("wording", "what does __init__ do", "what does init do"),
        ("wording", "can you eat raw eggs", "eat raw eggs"),
        ("name", "what does big mean", "what does large mean"),
        ("wording", "does light bend", "is light bend"),
        ("wording", "what is C", "what is C++"),
        ("wording", "what is .NET", "what is net"),
        ("wording", "how do I cook rice", "how do I cook rice fast"),
        ("wording", "wo ist der hund", "wo ist der wolf"),
        ("wording", "?", "!"),
    ],
)
def test_questions_that_differ_in_what_counts_do_not_agree(kind: str, one: str, other: str) -> None:
    """And it is said in what; to and fro."""
    assert differ(one, other) == kind
    assert differ(other, one) is not None


@given(st.text(max_size=200))
def test_every_text_can_be_read_and_agrees_with_itself_or_says_nothing(text: str) -> None:
    """No text breaks the reader."""
    reading = read(text)
    assert disagreement(reading, read(text), lambda a, b: 0.0) is None or not reading.words


@given(st.text(max_size=60), st.text(max_size=60))
def test_agreement_is_mutual_and_only_within_a_mark(one: str, other: str) -> None:
    """Candidates are looked for by their mark, so that none that agrees is passed over."""
    agrees = differ(one, other) is None
    assert agrees == (differ(other, one) is None)
    assert not agrees or read(one).mark == read(other).mark


@given(plain_words, st.data())
def test_two_numbers_never_stand_for_each_other(words: list[str], data: st.DataObject) -> None:
    """Wherever they stand, in whatever sentence."""
    one, other = data.draw(numbers), data.draw(numbers)
    assume(str(one) != str(other))
    place = data.draw(st.integers(0, len(words)))
    with_one, with_other = ([*words[:place], str(number), *words[place:]] for number in (one, other))
    assert differ(" ".join(with_one), " ".join(with_other)) is not None


@given(plain_words, st.sampled_from(["not", "never", "no", "without", "n't"]), st.data())
def test_a_negation_more_never_agrees(words: list[str], negation: str, data: st.DataObject) -> None:
    """At any place of any sentence."""
    place = data.draw(st.integers(0, len(words)))
    negated = [*words[:place], *(["does" + negation] if negation == "n't" else [negation]), *words[place:]]
    assert differ(" ".join(words), " ".join(negated)) is not None


@given(st.permutations(PLAIN), st.data())
def test_two_words_that_change_places_never_agree(words: list[str], data: st.DataObject) -> None:
    """Who bites whom is in the order alone."""
    one, other = data.draw(st.lists(st.integers(0, len(words) - 1), min_size=2, max_size=2, unique=True))
    turned = list(words)
    turned[one], turned[other] = turned[other], turned[one]
    assert differ(" ".join(words), " ".join(turned)) == "direction"


@given(st.text(st.characters(exclude_characters='"', categories=["L", "N", "P", "Zs"]), min_size=1, max_size=30))
def test_a_payload_agrees_only_to_the_letter(payload: str) -> None:
    """What is quoted is what is asked about."""
    assume(payload.strip())
    assert differ(f'Translate "{payload}" for Ann', f'Translate "{payload}x" for Ann') is not None


@given(plain_words, st.booleans(), st.sampled_from(["", "?", " ?", ".", "!"]))
def test_case_spaces_and_end_marks_do_not_count(words: list[str], capital: bool, end: str) -> None:
    """As people type."""
    typed = "  ".join(words) + end
    assert differ(" ".join(words), typed.capitalize() if capital else typed) is None
