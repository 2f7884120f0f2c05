"""Our errors in A2A's classes, with our code in their data; what is not ours says nothing."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, ParamSpec, TypeVar

from a2a.utils.errors import (
    A2AError,
    InternalError,
    InvalidParamsError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)

from agentnode.a2a.errors import TaskNotStoppable
from ledger.errors import AgentNodeError, Conflict, InvalidInput, NotFound
from trust.errors import AddressRefused

logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")


def a2a_error(error: AgentNodeError) -> A2AError:
    """A2A's class for one of our errors; our code is in its data. Exact classes: the SDK looks up `type(error)`."""
    data = error.as_dict()
    match error:
        case TaskNotStoppable():
            return TaskNotCancelableError(error.message, data)
        case NotFound():
            return TaskNotFoundError(error.message, data)
        case InvalidInput() | AddressRefused():
            return InvalidParamsError(error.message, data)
        case Conflict():
            return UnsupportedOperationError(error.message, data)
    return InternalError(error.message, data)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except AgentNodeError as error:
        raise a2a_error(error) from None
    except A2AError:
        raise
    except Exception as error:
        # What a foreign error says may be content or a secret: it goes neither out nor into the log.
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else "?"
        logger.error("an A2A request broke: %s at %s", type(error).__name__, where)
        raise InternalError("INTERNAL: the request could not be served", {"code": "INTERNAL"}) from None


def translating(method: Callable[_P, Coroutine[Any, Any, _T]]) -> Callable[_P, Coroutine[Any, Any, _T]]:
    @functools.wraps(method)
    async def answering(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with translated():
            return await method(*args, **kwargs)

    return answering
