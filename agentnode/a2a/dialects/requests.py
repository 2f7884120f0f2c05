"""What comes, as the runtime takes it: messages, push configurations, which tasks to list. Raises A2A's errors.

A message is read from the request's own JSON where a protobuf would change it (numbers in metadata and in data parts).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import ContentTypeNotSupportedError, InvalidParamsError
from a2a.utils.proto_utils import validate_proto_required_fields
from a2a.utils.task import decode_list_tasks_cursor, validate_history_length, validate_page_size
from google.protobuf.json_format import MessageToDict

from agentnode.a2a.dialects.responses import PROTO_STATES
from agentnode.a2a.events import text_of
from agentnode.a2a.incoming import Incoming
from agentnode.a2a.reader import Filter
from agentnode.payments.asking.task_metadata import read_submission, version_for, without_payload
from agentnode.push import PushConfig
from ledger.clock import SECOND_US

DEFAULT_PUSH_ID = "default"
"""What 0.3 calls a configuration that was given no id"""
_STATES = {value: state for state, value in PROTO_STATES.items()}
_PLAIN_MODES = {"text": "text/plain", "data": "application/json"}
_PAGE = 50
_LONGEST_TOKEN = 200


def message(
    params: pb.SendMessageRequest,
    body: Any,
    dialect: str,
    extensions: set[str],
    idempotency_key: str | None,
    input_modes: Sequence[str],
) -> Incoming:
    """The client's message. `body` is the request's JSON, from which `params` was read.

    Raises InvalidParamsError; ContentTypeNotSupportedError for a part of another media type than `input_modes`, and for
    a file by its URL.
    """
    _check(params)
    asked = _mapping(body.get("params")) if "jsonrpc" in body else body
    raw = _mapping(asked.get("message"))
    if "content" in raw:
        raw = {**raw, "parts": _parts_of_rest_03(raw["content"])}
    said = _message(params.message, raw, input_modes)
    metadata = _mapping(raw.get("metadata"))
    if metadata:
        said["metadata"] = without_payload(metadata)
    push = None
    if params.configuration.HasField("task_push_notification_config"):
        push = push_config(params.configuration.task_push_notification_config, dialect)
    return Incoming(
        message=said,
        text=text_of(said),
        metadata=(metadata, _mapping(asked.get("metadata"))),
        asked=asked,
        dialect=dialect,
        x402_version=version_for(extensions, metadata),
        task_id=params.message.task_id or None,
        context_id=params.message.context_id or None,
        submission=read_submission(metadata),
        idempotency_key=idempotency_key,
        push=push,
    )


def listing(params: pb.ListTasksRequest) -> Filter:
    """Which tasks are asked for."""
    validate_history_length(params)
    if params.HasField("page_size"):
        validate_page_size(params.page_size)
    before = None
    if params.page_token:
        before = _position(params.page_token)
    after = params.status_timestamp_after if params.HasField("status_timestamp_after") else None
    return Filter(
        context_id=params.context_id or None,
        state=_STATES.get(params.status, "none") if params.status else None,
        status_after_us=after.seconds * SECOND_US + after.nanos // 1_000 if after is not None else None,
        before=before,
        limit=params.page_size if params.HasField("page_size") else _PAGE,
    )


def _position(token: str) -> tuple[int, str]:
    """Behind which task a page begins. A token of ours is short; a longer one may be nested too deep to be read."""
    cursor = decode_list_tasks_cursor(token) if len(token) <= _LONGEST_TOKEN else None
    if cursor is None or not 0 <= (cursor.timestamp_ns or -1) < 2**63 or not cursor.task_id.isprintable():
        raise InvalidParamsError("pageToken is not one that this agent gave", {"field": "pageToken"})
    return (cursor.timestamp_ns or 0) // 1_000, cursor.task_id


def push_config(asked: pb.TaskPushNotificationConfig, dialect: str) -> PushConfig:
    if not asked.url:
        raise InvalidParamsError("a push configuration needs a url", {"field": "url"})
    return PushConfig(
        id=asked.id or _push_id(asked, dialect),
        task_id=asked.task_id,
        url=asked.url,
        token=asked.token,
        scheme=asked.authentication.scheme,
        credentials=asked.authentication.credentials,
        dialect=dialect,
    )


def last_event_id(headers: Mapping[str, str]) -> int | None:
    said = headers.get("last-event-id")
    if said is None:
        return None
    if not (said.isascii() and said.isdigit() and len(said) < 16):
        raise InvalidParamsError("Last-Event-ID is not one that this agent gave", {"field": "Last-Event-ID"})
    return int(said)


def history_length(asked: Any) -> int | None:
    return asked.history_length if asked.HasField("history_length") else None


def _check(params: pb.SendMessageRequest) -> None:
    message = params.message
    sound = message.message_id and message.parts and all(part.WhichOneof("content") for part in message.parts)
    if not sound or message.role == pb.Role.ROLE_UNSPECIFIED:
        validate_proto_required_fields(params)  # walks the whole message by reflection, so only to name what is missing
        raise InvalidParamsError("every part must have content", {"field": "message.parts"})
    if message.role != pb.Role.ROLE_USER:
        raise InvalidParamsError("a client's message has the role of the user", {"field": "message.role"})
    validate_history_length(params.configuration)


def _push_id(asked: pb.TaskPushNotificationConfig, dialect: str) -> str:
    """Of a configuration without one: the same again is the same, so that a retry makes no second one."""
    if dialect != "1.0":
        return DEFAULT_PUSH_ID
    said = json.dumps([asked.url, asked.token, asked.authentication.scheme, asked.authentication.credentials])
    return f"push_{hashlib.sha256(said.encode()).hexdigest()[:32]}"


def _message(message: pb.Message, raw: Mapping[str, Any], input_modes: Sequence[str]) -> dict[str, Any]:
    raw_parts = raw.get("parts")
    given = raw_parts if isinstance(raw_parts, list) else []
    made: dict[str, Any] = {
        "messageId": message.message_id,
        "role": "ROLE_USER",
        "parts": [
            _part(part, given[index] if index < len(given) else {}, input_modes)
            for index, part in enumerate(message.parts)
        ],
    }
    if message.extensions:
        made["extensions"] = list(message.extensions)
    if message.reference_task_ids:
        made["referenceTaskIds"] = list(message.reference_task_ids)
    return made


def _part(part: pb.Part, raw: Any, input_modes: Sequence[str]) -> dict[str, Any]:
    kind = part.WhichOneof("content")
    media_type = part.media_type or _PLAIN_MODES.get(kind or "", "")
    if media_type not in input_modes or kind == "url":
        said = "a file by its URL" if kind == "url" else media_type or "a part without a media type"
        raise ContentTypeNotSupportedError(f"{said} is not one of {', '.join(input_modes)}")
    if kind == "text" and not (part.filename or part.media_type or part.HasField("metadata")):
        return {"text": part.text}
    made: dict[str, Any] = MessageToDict(part)
    exact = _mapping(raw)
    return {**made, **{key: exact[key] for key in ("data", "metadata") if key in exact and key in made}}


def _parts_of_rest_03(content: Any) -> list[Any]:
    """Over HTTP+JSON 0.3 calls the parts `content`, and has data one level down."""
    parts = content if isinstance(content, list) else []
    return [{**part, "data": _mapping(part["data"]).get("data")} if "data" in part else part for part in parts]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
