"""Writes facts.json: what price lists leave out about models. For developers; nothing imports it.

    python -m engine.catalog.make_facts TABLE --version 1.109.1 --read 2026-11-24

TABLE is a copy of `model_prices_and_context_window_backup.json` from a release of litellm (MIT). Only what this
catalog prices is taken over: context window, output limit, capabilities, the day a model ends, and the name it is
called by where the price list has another.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.catalog.names import base_name, model_of
from engine.providers.upstreams import KNOWN

TARGET = Path(__file__).with_name("facts.json")
_OWN = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "gemini",
    "groq": "groq",
    "deepseek": "deepseek",
    "mistral": "mistral",
    "together": "together_ai",
    "fireworks": "fireworks_ai",
    "cohere": "cohere_chat",
    "xai": "xai",
}
"""What litellm calls our upstreams."""
_MAKERS = {
    "openai": ("openai",),
    "anthropic": ("anthropic",),
    "google": ("gemini",),
    "x-ai": ("xai",),
    "mistralai": ("mistral",),
    "deepseek": ("deepseek",),
    "cohere": ("cohere_chat",),
    "ai21": ("ai21",),
    "moonshotai": ("moonshot",),
    "z-ai": ("zai",),
    "qwen": ("dashscope",),
    "minimax": ("minimax",),
}
"""Who makes the models of an OpenRouter prefix."""
_NO_CHAT = re.compile(r"guard|embed|moderation|audio|tts|image|realtime|robotics|computer-use|^ft:")
"""Names of models for other work, which some tables call chat models all the same: never chosen by themselves."""
_CODE = re.compile(r"code|devstral|starcoder")

Entry = dict[str, Any]


def make(table: dict[str, Entry], read: str) -> dict[str, list[Any]]:
    """Rows by catalog id: context window, output limit, capabilities, last day, name to call it by."""
    from genai_prices.data import providers

    listed = {entry.id: [model.id for model in entry.models if not model.deprecated] for entry in providers}
    hosts = _hosts(table, read)
    rows: dict[str, list[Any]] = {}
    for upstream in KNOWN.values():
        for name in listed.get(upstream.price_list or "", []):
            row = None if _NO_CHAT.search(name) or name.endswith(":batch") else _row(upstream.name, name, hosts)
            if row is not None:
                rows[f"{upstream.name}/{name}"] = row
    return dict(sorted(rows.items()))


def _hosts(table: dict[str, Entry], read: str) -> dict[str, dict[str, Entry]]:
    """The chat models of each host by the name its API has for them; those that have ended are left out."""
    hosts: dict[str, dict[str, Entry]] = {}
    for key, entry in table.items():
        if entry.get("mode") == "chat" and str(entry.get("deprecation_date", "9")) > read:
            host = str(entry.get("litellm_provider"))
            name = key.removeprefix(f"{host}/").removeprefix("accounts/fireworks/models/")
            hosts.setdefault(host, {})[name] = entry
    return hosts


def _row(upstream: str, name: str, hosts: dict[str, dict[str, Entry]]) -> list[Any] | None:
    if upstream != "openrouter":
        return _own_row(name, hosts.get(_OWN[upstream], {}))
    maker, _, model = name.removesuffix(":free").partition("/")
    for host in _MAKERS.get(maker, ()):
        found = _same(model, hosts.get(host, {}))
        if found is not None:
            return [*_facts(name, [found], found.get("max_output_tokens")), None]
    elsewhere = [found for host in hosts.values() if (found := _same(model, host)) is not None]
    return [*_facts(name, elsewhere, None), None] if elsewhere else None


def _own_row(name: str, host: dict[str, Entry]) -> list[Any] | None:
    aliases = [name, f"{name}-latest", *sorted((other for other in host if base_name(other) == name), reverse=True)]
    for called in aliases:
        if called in host:
            entry = host[called]
            return [*_facts(name, [entry], entry.get("max_output_tokens")), None if called == name else called]
    return None


def _same(name: str, host: dict[str, Entry]) -> Entry | None:
    return next((entry for other, entry in sorted(host.items()) if model_of(other) == model_of(name)), None)


def _facts(name: str, entries: list[Entry], max_output: Any) -> list[Any]:
    """What all the entries agree on: one host may lack what another has."""
    windows = [entry["max_input_tokens"] for entry in entries if isinstance(entry.get("max_input_tokens"), int)]
    common = set.intersection(*(_capabilities(name, entry) for entry in entries))
    ends = [str(entry["deprecation_date"]) for entry in entries if "deprecation_date" in entry]
    limit = max_output if isinstance(max_output, int) else None
    return [min(windows, default=None), limit, " ".join(sorted(common)), min(ends, default=None)]


def _capabilities(name: str, entry: Entry) -> set[str]:
    calls = bool(entry.get("supports_function_calling"))
    stated: Iterable[tuple[str, bool]] = (
        ("chat", True),
        ("code", calls or _CODE.search(name.lower()) is not None),
        ("function_calling", calls),
        ("json", bool(entry.get("supports_response_schema"))),
        ("reasoning", bool(entry.get("supports_reasoning"))),
        ("vision", bool(entry.get("supports_vision"))),
    )
    return {capability for capability, has in stated if has}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m engine.catalog.make_facts")
    parser.add_argument("table", type=Path)
    parser.add_argument("--version", required=True, help="litellm's")
    parser.add_argument("--read", required=True, help="the day, YYYY-MM-DD")
    given = parser.parse_args()
    rows = make(json.loads(given.table.read_text()), given.read)
    head = {
        "source": f"model_prices_and_context_window_backup.json of litellm {given.version} (MIT)",
        "read": given.read,
        "columns": ["context_window", "max_output", "capabilities", "last_day", "called"],
    }
    lines = [f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items()]
    stated = json.dumps(head, indent=1)[:-2]
    TARGET.write_text(stated + ',\n "models": {\n' + ",\n".join(lines) + "\n }\n}\n")


if __name__ == "__main__":
    main()
