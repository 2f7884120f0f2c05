"""What leaves, from the runtime's JSON to the SDK's protobuf types, field by field: its generic converter is 20 times
slower."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from a2a.compat.v0_3.conversions import to_compat_task
from a2a.types import a2a_pb2 as pb
from a2a.utils.task import ListTasksCursor, encode_list_tasks_cursor
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from agentnode.a2a.dialects.exact_numbers import Numbers
from agentnode.a2a.events import Event, View
from agentnode.a2a.reader import Snapshot
from agentnode.a2a.runtime import TaskRuntime
from agentnode.a2a.states import STATES
from agentnode.a2a.tables import Task
from agentnode.push import Body, PushConfig

PROTO_STATES = {state: pb.TaskState.Value("TASK_STATE_" + state.upper().replace("-", "_")) for state in STATES}


def timestamp(at_us: int) -> Timestamp:
    """To the millisecond, as A2A asks."""
    return Timestamp(seconds=at_us // 1_000_000, nanos=at_us % 1_000_000 // 1_000 * 1_000_000)


class Protos:
    """What leaves: numbers are hidden in it, for the endpoint to show them again."""

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers

    def page(
        self, found: Sequence[Snapshot], total: int, more: bool, limit: int, history_length: int | None
    ) -> pb.ListTasksResponse:
        last = found[-1].task if more else None
        return pb.ListTasksResponse(
            tasks=[self.task(each.view, history_length) for each in found],
            next_page_token=_token(last) if last else "",
            page_size=limit,
            total_size=total,
        )

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
            state=PROTO_STATES[status["state"]],
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


def _token(last: Task) -> str:
    return encode_list_tasks_cursor(ListTasksCursor(last.status_at_us * 1_000, last.id))


def push_proto(config: PushConfig) -> pb.TaskPushNotificationConfig:
    made = pb.TaskPushNotificationConfig(id=config.id, task_id=config.task_id, url=config.url, token=config.token)
    if config.scheme:
        made.authentication.CopyFrom(pb.AuthenticationInfo(scheme=config.scheme, credentials=config.credentials))
    return made


def push_body(runtime: TaskRuntime) -> Body:
    """What a push configuration is told: the task as it stood at that event, in the configuration's dialect."""

    async def body(config: PushConfig, seq: int) -> bytes | None:
        view = await runtime.pushes.told(config, seq)
        if view is None:
            return None
        numbers = Numbers()
        task = Protos(numbers).task(view)
        if config.dialect == "1.0":
            return numbers.show(json.dumps(MessageToDict(pb.StreamResponse(task=task)))).encode()
        return numbers.show(to_compat_task(task).model_dump_json(by_alias=True, exclude_none=True)).encode()

    return body
