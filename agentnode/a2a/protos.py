"""Between the runtime's JSON and the SDK's protobuf types, field by field: the generic converter is 20 times slower.

The incoming message is read from the request's own JSON where a protobuf would change it (numbers in metadata and in
data parts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import ContentTypeNotSupportedError, InvalidParamsError
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from agentnode.a2a.events import Event, View, text_of
from agentnode.a2a.incoming import Incoming
from agentnode.a2a.numbers import Numbers
from agentnode.a2a.states import STATES
from agentnode.payments.asking.task_metadata import read_submission, version_for, without_payload
from agentnode.push import PushConfig

_TO_PROTO = {state: pb.TaskState.Value("TASK_STATE_" + state.upper().replace("-", "_")) for state in STATES}
_PLAIN_MODES = {"text": "text/plain", "data": "application/json"}
_FROM_PROTO = {value: state for state, value in _TO_PROTO.items()}


def state_of_proto(state: int) -> str | None:
    """The state's word; None for one that no task here ever has."""
    return _FROM_PROTO.get(state)


def timestamp(at_us: int) -> Timestamp:
    """To the millisecond, as A2A asks."""
    return Timestamp(seconds=at_us // 1_000_000, nanos=at_us % 1_000_000 // 1_000 * 1_000_000)


class Protos:
    """What leaves: numbers are hidden in it, for the endpoint to show them again."""

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers

    def task(self, view: View, history_length: int | None = None) -> pb.Task:
        history = view.get("history", [])
        if history_length is not None:
            history = history[-history_length:] if history_length else []
        return pb.Task(
            id=view["id"],
            context_id=view["contextId"],
            status=self._status(view["status"]),
            artifacts=[self._artifact(each) for each in view.get("artifacts", ())],
            history=[self._message(each) for each in history],
        )

    def answer(self, view: View, history_length: int | None = None) -> pb.Task | pb.Message:
        """What a message came to: a task, or the message of a direct skill."""
        return self._message(view) if "messageId" in view else self.task(view, history_length)

    def event(self, view: View, event: Event) -> pb.TaskStatusUpdateEvent | pb.TaskArtifactUpdateEvent | None:
        """The event as a stream carries it; None for one that is only kept."""
        match event["kind"]:
            case "status":
                return pb.TaskStatusUpdateEvent(
                    task_id=view["id"], context_id=view["contextId"], status=self._status(event["status"])
                )
            case "artifact":
                return pb.TaskArtifactUpdateEvent(
                    task_id=view["id"],
                    context_id=view["contextId"],
                    artifact=self._artifact(event["artifact"]),
                    append=event["append"],
                    last_chunk=event["last"],
                )
        return None

    def _status(self, status: dict[str, Any]) -> pb.TaskStatus:
        message = status.get("message")
        return pb.TaskStatus(
            state=_TO_PROTO[status["state"]],
            timestamp=timestamp(status["at_us"]),
            message=None if message is None else self._message(message),
        )

    def _message(self, message: dict[str, Any]) -> pb.Message:
        return pb.Message(
            message_id=message["messageId"],
            context_id=message.get("contextId", ""),
            task_id=message.get("taskId", ""),
            role=message["role"],
            parts=[self._part(part) for part in message["parts"]],
            metadata=self._struct(message.get("metadata")),
            extensions=message.get("extensions", ()),
            reference_task_ids=message.get("referenceTaskIds", ()),
        )

    def _artifact(self, artifact: dict[str, Any]) -> pb.Artifact:
        return pb.Artifact(
            artifact_id=artifact["artifactId"],
            name=artifact["name"],
            parts=[self._part(part) for part in artifact["parts"]],
        )

    def _part(self, part: dict[str, Any]) -> pb.Part:
        if part.keys() == {"text"}:
            return pb.Part(text=part["text"])
        hidden = {key: self.numbers.hide(value) for key, value in part.items()}
        made: pb.Part = ParseDict(hidden, pb.Part())
        return made

    def _struct(self, metadata: dict[str, Any] | None) -> Struct | None:
        if not metadata:
            return None
        made = Struct()
        made.update(self.numbers.hide(metadata))
        return made


def incoming(
    params: pb.SendMessageRequest,
    body: Any,
    dialect: str,
    extensions: set[str],
    idempotency_key: str | None,
    input_modes: Sequence[str],
) -> Incoming:
    """The client's message. `body` is the request's JSON, from which `params` was read.

    Raises ContentTypeNotSupportedError for a part of another media type than `input_modes`, and for a file by its URL.
    """
    asked = _mapping(body.get("params")) if "jsonrpc" in body else body
    raw = _mapping(asked.get("message"))
    if "content" in raw:
        raw = {**raw, "parts": _parts_of_rest_03(raw["content"])}
    message = _message(params.message, raw, input_modes)
    metadata = _mapping(raw.get("metadata"))
    if metadata:
        message["metadata"] = without_payload(metadata)
    push = None
    if params.configuration.HasField("task_push_notification_config"):
        push = push_config(params.configuration.task_push_notification_config, dialect)
    return Incoming(
        message=message,
        text=text_of(message),
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


def push_config(asked: pb.TaskPushNotificationConfig, dialect: str) -> PushConfig:
    if not asked.url:
        raise InvalidParamsError("a push configuration needs a url", {"field": "url"})
    return PushConfig(
        id=asked.id,
        task_id=asked.task_id,
        url=asked.url,
        token=asked.token,
        scheme=asked.authentication.scheme,
        credentials=asked.authentication.credentials,
        dialect=dialect,
    )


def push_proto(config: PushConfig) -> pb.TaskPushNotificationConfig:
    made = pb.TaskPushNotificationConfig(id=config.id, task_id=config.task_id, url=config.url, token=config.token)
    if config.scheme:
        made.authentication.CopyFrom(pb.AuthenticationInfo(scheme=config.scheme, credentials=config.credentials))
    return made


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
