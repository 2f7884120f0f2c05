"""A function of Python is sold as a skill: listed on the card, paid for, its parts streamed."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentnode.sell import skill, skills_in
from ledger.errors import InvalidInput
from tests.devchain.devchain_process import ChainProcess
from tests.scenarios.node_process import NodeProcess, payload_for, requirement

SHOP = '''
from agentnode.sell import skill

@skill(price="0.002", tags=["loud"])
def shout(text: str) -> str:
    """Says it louder."""
    return text.upper()

@skill()
async def words(text: str):
    """Says it word by word."""
    for word in text.split():
        yield word + "."

@skill(id="first-of")
def first(text):
    """The first word."""
    yield from text.split()[:1]

def not_for_sale(text):
    return text
'''


def test_a_function_is_found_bought_and_answered(chain: ChainProcess, tmp_path: Path) -> None:
    """The card names its price; it is paid before it runs; a free one just runs."""
    (tmp_path / "shop.py").write_text(SHOP)
    node = NodeProcess(tmp_path / "node", chain, skills=[str(tmp_path / "shop.py")])
    card = node.http.get("/.well-known/agent.json").json()
    listed = {each["id"]: each["description"] for each in card["skills"]}
    assert listed.keys() == {"echo", "ask", "shout", "words", "first-of"}
    assert "0.002 USD" in listed["shout"] and "Free" in listed["words"]
    task = node.send("louder, please", metadata={"skill": "shout"})
    asked = requirement(task)
    assert asked["amount"] == "2000"
    done = node.pay(task, payload_for(chain, chain.funded("1"), asked))
    done = node.until(done["id"], "completed")
    assert done["artifacts"][0]["parts"][0]["text"] == "LOUDER, PLEASE"
    for name, said in (("words", "so.it.is."), ("first-of", "so")):
        task = node.until(node.send("so it is", metadata={"skill": name})["id"], "completed")
        assert "".join(part["text"] for part in task["artifacts"][0]["parts"]) == said
    node.stop()


def test_a_marked_function_stays_a_function() -> None:
    @skill(price="1")
    def twice(text: str) -> str:
        """Says it twice."""
        return text * 2

    assert twice("a") == "aa"


@pytest.mark.parametrize("options", [{"price": "cheap"}, {"id": "No Name"}, {"description": ""}])
def test_a_skill_that_cannot_be_sold_says_why(options: dict[str, str]) -> None:
    def bare(text: str) -> str:
        return text

    with pytest.raises(InvalidInput):
        skill(**options)(bare)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["no_such_module_here", "no/such/file.py"])
def test_a_place_that_is_not_there_is_named(place: str) -> None:
    with pytest.raises(InvalidInput, match=place):
        skills_in([place])
