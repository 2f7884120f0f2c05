"""Whose work a call was: the request's `metadata`, read into the names that events are filtered and summed by."""

from __future__ import annotations

from typing import Any

from ledger.errors import InvalidInput

MAX_ENTRIES = 32
MAX_NAME_LENGTH = 64
MAX_VALUE_LENGTH = 512
"""As OpenAI's own metadata has it."""

_LONG = {
    "agent": "agent_id",
    "department": "department_id",
    "employee": "employee_id",
    "customer": "customer_id",
    "project": "project_id",
    "feature": "feature_id",
    "workflow": "workflow_id",
    "vendor": "vendor_id",
    "task": "task_type",
    "action": "action_type",
}
FIELDS = frozenset({"owner_type", "owner_id", *_LONG.values()})
CONTENT = frozenset({"prompt", "messages", "completion", "response"})
"""Metadata stays in the ledger, and no prompt and no answer does: these names are refused."""


def attribution_of(body: dict[str, Any]) -> dict[str, Any]:
    """The attribution in a request's body: FIELDS as they were named, in full or short (`department` is
    `department_id`), and all other entries as texts under `tags`. Empty where there is no metadata.

    Raises InvalidInput naming the entry (`metadata.department`).
    """
    given = body.get("metadata")
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise InvalidInput("metadata", "must be an object")
    found: dict[str, Any] = {}
    tags: dict[str, str] = {}
    for name, value in given.items():
        if value is None:
            continue
        if name == "tags":
            tags |= _tags(value)
            continue
        param = f"metadata.{name[:MAX_NAME_LENGTH]}"
        text = _text(param, value)
        field = _LONG.get(name, name)
        if field not in FIELDS:
            tags[_tag(param, name)] = text
        elif found.setdefault(field, text) != text:
            raise InvalidInput(param, f"says something else than its other name for {field}")
    if len(found) + len(tags) > MAX_ENTRIES:
        raise InvalidInput("metadata", f"must have at most {MAX_ENTRIES} entries")
    if tags:
        found["tags"] = tags
    return found


def _tags(value: Any) -> dict[str, str]:
    """Either names with values, or bare names."""
    if isinstance(value, dict):
        return {_tag("metadata.tags", name): _text("metadata.tags", text) for name, text in value.items()}
    if isinstance(value, list):
        return {_tag(f"metadata.tags[{index}]", name): "true" for index, name in enumerate(value)}
    raise InvalidInput("metadata.tags", "must be a list of names, or an object")


def _tag(param: str, name: Any) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH:
        raise InvalidInput(param, f"must be a name of 1 to {MAX_NAME_LENGTH} characters")
    if "\0" in name:
        raise InvalidInput(param, "must not hold NUL characters")
    if name.lower() in CONTENT:
        raise InvalidInput(param, "names content: no prompt and no answer is kept with an event")
    return name


def _text(param: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        value = str(value)
    if not isinstance(value, str) or len(value) > MAX_VALUE_LENGTH:
        raise InvalidInput(param, f"must be a text of at most {MAX_VALUE_LENGTH} characters, or a number")
    if "\0" in value:
        raise InvalidInput(param, "must not hold NUL characters")
    return value
