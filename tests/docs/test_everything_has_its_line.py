"""A setting, variable, route, command, option, error code or kind of event without its line in docs/ fails here."""

from __future__ import annotations

import importlib
import pkgutil
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import typer
from fastapi import FastAPI
from starlette.routing import Route

from agentnode.app import build
from agentnode.hire.tables import HireCall
from agentnode.payments.asking import task_metadata
from agentnode.payments.errors import SignInCode, X402Code
from agentnode.payments.tables import POINTS
from agentnode.sell import wrap_from_table
from agentnode.settings import Settings, load
from engine import embeddings_from_table, upstream_from_table
from ledger.accounts import scopes
from ledger.errors import AgentNodeError, InvalidInput
from ledger.events import KINDS
from tests.docs.pages import HOUSE, PACKAGES, blocks, page, rows, sources, spans

ALL_PAGES = "\n".join(
    page(name)
    for name in (
        "accounts.md",
        "a2a.md",
        "bazaar.md",
        "cache.md",
        "engine.md",
        "errors.md",
        "mandates.md",
        "models.md",
        "operating.md",
        "payments.md",
        "payments-http.md",
    )
)
CHAIN_ALONE = {"POST /", "GET /info", "POST /faucet"}
_VARIABLE = re.compile(r"\b(?:AGENTNODE|P402|OPENAI|OPENROUTER)_[A-Z0-9_]*[A-Z0-9]\b")
_ROUTE = re.compile(r"(?:GET|POST|PUT|PATCH|DELETE) /\S*")


def test_every_setting_stands_on_its_page_with_its_default() -> None:
    """And nothing stands there that is no setting."""
    documented = {row[0].strip("`"): row[1].strip("`") for row in _table("settings.md", "Setting")}
    fields = Settings.model_fields
    assert documented.keys() == fields.keys()
    for name, field in fields.items():
        default = str(field.default) if isinstance(field.default, Path) else field.default
        assert tomllib.loads(f"it = {documented[name]}")["it"] == default, name


def test_every_variable_that_the_code_reads_stands_on_its_page() -> None:
    """And none that it does not read."""
    read = set(_VARIABLE.findall(sources(*PACKAGES, "tests/promises", "tests/ledger") + "OPENAI_BASE_URL"))
    read |= {"OPENROUTER_BASE_URL", "AGENTNODE_PROVE"}
    documented = set(_VARIABLE.findall(page("settings.md")))
    assert documented == read


def test_the_wrap_in_the_page_on_selling_is_one() -> None:
    [example] = blocks(HOUSE / "docs" / "selling.md", language="toml")
    [table] = load({}, **tomllib.loads(example.text)).wraps
    sold = wrap_from_table(table, {"API_AUTH": "secret"})
    assert (sold.path, sold.rate.usd_nanos, sold.headers["Authorization"]) == ("/wrapped/weather", 2_000_000, "secret")


def test_the_upstream_in_the_settings_page_is_one() -> None:
    """It is read from a file and understood, key by key."""
    example, _ = blocks(HOUSE / "docs" / "settings.md", language="toml")
    tables = load({}, upstreams=tomllib.loads(example.text)["upstreams"]).upstreams
    upstream = upstream_from_table(tables[0])
    assert upstream.name == "mock"
    for key in {**tables[0], **tables[0]["models"][0]}:
        assert key in page("settings.md").split("| Key |")[1], key


def test_the_embeddings_in_the_settings_page_are_read_key_by_key() -> None:
    """And every key that can be set stands there."""
    _, example = blocks(HOUSE / "docs" / "settings.md", language="toml")
    stated = load({}, **tomllib.loads(example.text)).cache_embeddings
    terms = embeddings_from_table(stated)
    assert (terms.upstream.name, terms.nanos_per_mtok, terms.similarity) == ("vectors", 20_000_000, 0.6)
    with pytest.raises(InvalidInput) as refusal:
        embeddings_from_table(stated | {"other": 1})
    known = refusal.value.message.rpartition("known are ")[2].split(", ")
    keys = page("settings.md").split("| Key |")[2]
    assert set(known) == stated.keys() == {row[0].strip("`") for row in rows(f"| Key |{keys}")} & set(known)


async def test_every_route_stands_in_the_documentation(tmp_path: Path) -> None:
    """And every route that stands there is served."""
    from agentnode.api import devchain

    app = await build(load({}, data=tmp_path, chain="none"))
    async with app.router.lifespan_context(app):
        app.include_router(devchain.router("http://127.0.0.1:1"))
    served = {f"{method} {path}" for method, path in _served(app)}
    documented = {span for span in spans(ALL_PAGES) if _ROUTE.fullmatch(span)}
    assert served - documented == set()
    assert documented - served - CHAIN_ALONE == set()


def test_every_command_stands_on_its_page_with_its_options() -> None:
    """And no option that it does not have."""
    from agentnode.cli.main import app

    documented = {row[0].strip("`"): set(spans(row[1])) for row in _table("operating.md", "Command")}
    walked = dict(_commands("agentnode", typer.main.get_command(app)))
    assert documented.keys() == walked.keys()
    for name, options in walked.items():
        assert documented[name] == options, name


def test_every_error_code_stands_on_its_page_with_its_status() -> None:
    """And no code that nothing raises."""
    documented: dict[str, set[int]] = {}
    for row in rows(page("errors.md")):
        if len(row) == 3 and row[0].startswith("`"):
            documented.setdefault(row[0].strip("`"), set()).add(int(row[1]))
    assert _codes() == documented


def test_every_code_of_the_command_line_stands_on_its_page() -> None:
    """Codes that no error class has are found where they are said."""
    said = set(re.findall(r"\"([A-Z]+_[A-Z_]+): ", sources("agentnode/cli", "agentnode/__main__.py")))
    said |= set(re.findall(r"f\"([A-Z]+_[A-Z_]+): ", sources("agentnode/cli", "agentnode/__main__.py")))
    documented = {row[0].strip("`") for row in _table("errors.md", "Code") if len(row) == 2}
    assert documented == said - _codes().keys()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_event_stands_on_its_page(kind: str) -> None:
    """What an economic event can stand for is said where its fields are."""
    assert kind in [row[0].strip("`") for row in _table("ledger.md", "Kind")]


def test_every_point_of_the_journals_says_what_brings_it_back() -> None:
    """Settlements and hires."""
    assert [row[0].strip("`") for row in _table("payments.md", "Point")] == list(POINTS)
    points = re.findall(r"'(\w+)'", str(_check_of(HireCall, "point")))
    assert [row[0].strip("`") for row in _table("bazaar.md", "Point of a call")] == points


def test_the_payment_page_names_the_extension() -> None:
    """Its URIs, keys and error codes."""
    text = page("payments.md")
    said = (task_metadata.STATUS, task_metadata.REQUIRED, task_metadata.PAYLOAD, task_metadata.RECEIPTS)
    keys = [*said, task_metadata.ERROR, task_metadata.VERSION]
    for named in (*task_metadata.X402_EXTENSION_URIS, *keys, *get_args(X402Code)):
        assert f"`{named}" in text, named


def test_the_page_on_payments_over_http_names_why_a_sign_in_is_refused() -> None:
    for code in get_args(SignInCode):
        assert f"`{code}`" in page("payments-http.md"), code


def test_every_rule_of_a_listing_stands_on_its_page() -> None:
    """A seller who is refused finds the rule."""
    code = sources("bazaar/listing.py", "bazaar/catalog.py")
    rules = set(re.findall(r"(?:hold|Check|_matching)\((?:on, )?\"(\w+)\"", code))
    assert len(rules) > 10
    endings = set(re.findall(r"f\"\{name\}(_\w+)\"", code))
    documented = spans(page("bazaar.md"))
    assert rules <= set(documented)
    for ending in endings:
        assert any(rule.endswith(ending) for rule in documented), ending


def test_every_scope_stands_on_its_page() -> None:
    """What a key can be allowed."""
    assert {f"`{scope}`" for scope in scopes.SCOPES} <= {f"`{span}`" for span in spans(page("ledger.md"))}


def _table(name: str, head: str) -> list[list[str]]:
    """The rows of every table on the page whose first head is this."""
    found: list[list[str]] = []
    inside = False
    for line in page(name).splitlines():
        if not line.startswith("|"):
            inside = False
        elif line.startswith(f"| {head} |"):
            inside = True
        elif inside and not line.startswith("|---"):
            found += rows(line)
    assert found, f"{name} has no table of {head}"
    return found


def _served(app: FastAPI) -> Iterator[tuple[str, str]]:
    """FastAPI's own routes as it describes them, and Starlette's, which A2A brings, as they are."""
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            yield method.upper(), path
    for route in app.routes:
        if isinstance(route, Route):
            for method in (route.methods or {"GET"}) - {"HEAD"}:
                yield method, route.path


def _commands(name: str, command: Any) -> Iterator[tuple[str, set[str]]]:
    children = getattr(command, "commands", None)
    if children:
        for child in children.values():
            yield from _commands(f"{name} {child.name}", child)
        if not command.invoke_without_command or name == "agentnode":
            return
    options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    yield name, options - {"--help"}


def _codes() -> dict[str, set[int]]:
    """Each code of an error class in the packages, with the statuses that go with it."""
    for package in PACKAGES:
        _import_all(importlib.import_module(package))
    codes = {AgentNodeError.code: {AgentNodeError.status}}
    for error in _leaves(AgentNodeError):
        if error.__module__.split(".")[0] in PACKAGES and error.code != AgentNodeError.code:
            codes.setdefault(error.code, set()).add(error.status)
    return codes


def _leaves(error: type[AgentNodeError]) -> Iterator[type[AgentNodeError]]:
    for child in error.__subclasses__():
        yield child
        yield from _leaves(child)


def _import_all(package: ModuleType) -> None:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("__main__") and ".migrations." not in found.name:
            importlib.import_module(found.name)


def _check_of(row: Any, name: str) -> Any:
    (check,) = [each for each in row.__table__.constraints if str(each.name).endswith(f"_{name}")]
    return check.sqltext
