"""The canonical record of what a call used: five counts that do not overlap."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """Tokens of one upstream call. The five parts are disjoint: their sum is the total.

    OpenAI's `prompt_tokens` is the sum of the first three, its `completion_tokens` that of the last two.
    """

    input_tokens: int = 0
    """Read fresh, neither from a cache nor into one."""
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    """Of the answer, without reasoning."""
    reasoning_tokens: int = 0

    def __post_init__(self) -> None:
        assert min(self.parts) >= 0, self

    @property
    def parts(self) -> tuple[int, int, int, int, int]:
        return (
            self.input_tokens,
            self.cache_read_tokens,
            self.cache_write_tokens,
            self.output_tokens,
            self.reasoning_tokens,
        )

    @property
    def prompt_tokens(self) -> int:
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def completion_tokens(self) -> int:
        return self.output_tokens + self.reasoning_tokens

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens
