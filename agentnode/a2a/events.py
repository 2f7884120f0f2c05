"""What happens to a task, as JSON, and the task that a run of such events adds up to. Pure.

An event is `{"kind": "task" | "history" | "status" | "artifact", ...}`; messages, parts and artifacts inside are A2A
1.0 JSON, states are the words of states.py, times are Unix microseconds. Numbers stay what the caller's JSON said.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Any

from agentnode.a2a.states import FAILED
from agentnode.payments.asking.task_metadata import STATUS as PAYMENT_STATUS
from ledger.errors import AgentNodeError

Event = dict[str, Any]
View = dict[str, Any]
"""A task as its caller sees it: id, contextId, status, and artifacts and history where there are any."""

ERROR_METADATA = "error"


def created(message: dict[str, Any], status: dict[str, Any]) -> Event:
    return {"kind": "task", "status": status, "history": [message]}


def said(message: dict[str, Any]) -> Event:
    """A message of the caller's to a task that is there: kept in its history, not sent to who listens."""
    return {"kind": "history", "message": message}


def status(
    state: str, at_us: int, *, text: str = "", metadata: dict[str, Any] | None = None, message_id: str = ""
) -> Event:
    return {"kind": "status", "status": status_of(state, at_us, text=text, metadata=metadata, message_id=message_id)}


def status_of(
    state: str, at_us: int, *, text: str = "", metadata: dict[str, Any] | None = None, message_id: str = ""
) -> dict[str, Any]:
    """A2A's TaskStatus; with a message of the agent's where there is text or metadata to carry."""
    made: dict[str, Any] = {"state": state, "at_us": at_us}
    if text or metadata:
        made["message"] = {"messageId": message_id, "role": "ROLE_AGENT", "parts": [{"text": text}]}
        if metadata:
            made["message"]["metadata"] = metadata
    return made


def failed(error: AgentNodeError, at_us: int, message_id: str, metadata: dict[str, Any] | None = None) -> Event:
    """The end of a task whose work did not succeed: the error's machine code stands in the metadata."""
    told = {**(metadata or {}), ERROR_METADATA: error.as_dict()}
    return status(FAILED, at_us, text=error.message, metadata=told, message_id=message_id)


def answered(text: str, context_id: str, message_id: str) -> dict[str, Any]:
    """The agent's message that is the whole answer."""
    return {"messageId": message_id, "contextId": context_id, "role": "ROLE_AGENT", "parts": [{"text": text}]}


def artifact(artifact_id: str, name: str, parts: Sequence[dict[str, Any]], *, append: bool, last: bool) -> Event:
    made = {"artifactId": artifact_id, "name": name, "parts": list(parts)}
    return {"kind": "artifact", "artifact": made, "append": append, "last": last}


def state_of(event: Event) -> str | None:
    """The state that the event brings the task to; None where it brings none."""
    found = event.get("status")
    return found["state"] if found else None


def told_of(events: Sequence[Event], first_seq: int) -> list[int]:
    """The numbers of the events that are told: changes of a status. That a task was made, its caller knows."""
    return [seq for seq, event in enumerate(events, first_seq) if event["kind"] == "status"]


def apply(view: View, event: Event) -> None:
    """Bring the view on by one event."""
    match event["kind"]:
        case "task":
            view["status"] = event["status"]
            view["history"] = list(event["history"])
        case "history":
            _hear_out(view)
            view["history"].append(event["message"])
        case "status":
            _hear_out(view)
            view["status"] = event["status"]
        case "artifact":
            _apply_artifact(view.setdefault("artifacts", []), event)


def _hear_out(view: View) -> None:
    """What the agent said last goes into the history before whatever comes next."""
    if spoken := view["status"].get("message"):
        view["history"].append(spoken)
        view["status"] = {key: value for key, value in view["status"].items() if key != "message"}


def fold(task_id: str, context_id: str, events: Iterable[Event]) -> View:
    view: View = {"id": task_id, "contextId": context_id}
    for event in events:
        apply(view, event)
    return view


def _apply_artifact(artifacts: list[dict[str, Any]], event: Event) -> None:
    new = event["artifact"]
    standing = next((each for each in artifacts if each["artifactId"] == new["artifactId"]), None)
    if standing is None:
        artifacts.append({**new, "parts": list(new["parts"])})
    elif not event["append"]:  # work that was begun anew says all of it again
        artifacts[artifacts.index(standing)] = {**new, "parts": list(new["parts"])}
    else:
        for part in new["parts"]:
            _append_part(standing["parts"], part)


def _append_part(parts: list[dict[str, Any]], part: dict[str, Any]) -> None:
    # An answer that was streamed in two hundred chunks is read back as one text.
    if parts and parts[-1].keys() == {"text"} == part.keys():
        parts[-1] = {"text": parts[-1]["text"] + part["text"]}
    else:
        parts.append(part)


def asked_last(history: Sequence[dict[str, Any]]) -> int:
    """Where the caller's last message is that asks for work, and is not about a payment."""
    for index in range(len(history) - 1, 0, -1):
        message = history[index]
        if message["role"] == "ROLE_USER" and PAYMENT_STATUS not in message.get("metadata", {}):
            return index
    return 0


def text_of(message: dict[str, Any]) -> str:
    """What a message says: its texts, files of text, and its data as JSON, one below the other."""
    return "\n".join(_words(part) for part in message["parts"])


def _words(part: dict[str, Any]) -> str:
    if "text" in part:
        return str(part["text"])
    if "data" in part:
        return json.dumps(part["data"])
    if part.get("mediaType", "").startswith("text/") or part.get("mediaType") == "application/json":
        return base64.b64decode(part["raw"]).decode(errors="replace")
    return str(part.get("filename", ""))


def dumps(events: list[Event]) -> bytes:
    # Not orjson, which turns integers over 64 bits into floats.
    return json.dumps(events, ensure_ascii=False, separators=(",", ":")).encode()


def loads(data: bytes) -> list[Event]:
    events: list[Event] = json.loads(data)
    return events
