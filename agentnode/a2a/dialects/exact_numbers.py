"""Numbers leave as they came.

The SDK keeps metadata and data parts in a protobuf Struct, which knows only doubles: 2 leaves as 2.0, and an integer
over 2**53 loses digits. So numbers cross it as strings that are tagged with a secret of the process, and become
numbers again in the JSON text that leaves. Nobody can send such a string, for nobody knows the tag.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import Any


class Numbers:
    def __init__(self) -> None:
        self._tag = f"number:{secrets.token_hex(16)}:"
        self._tagged = re.compile(rf'"{self._tag}([^"]*)"')

    def hide(self, value: Any) -> Any:
        """The JSON value with each number as a tagged string."""
        match value:
            case bool() | str() | None:
                return value
            case int() | float():
                return self._tag + json.dumps(value)
            case dict():
                return {key: self.hide(each) for key, each in value.items()}
            case list() | tuple():
                return [self.hide(each) for each in value]
        raise TypeError(f"{type(value).__name__} is not JSON")

    def show(self, text: str) -> str:
        """The JSON text with its numbers in place."""
        return self._tagged.sub(r"\1", text) if self._tag in text else text
