"""After a run that has promises in it: a table of the twenty, with what was seen of each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TITLES = {
    1: "A cap is never passed, whatever the parallelism",
    2: "Money that is left is never refused",
    3: "One purchase is paid once, though the answer is lost",
    4: "One payment buys one delivery",
    5: "A mandate is spent once, within its sum, and not after revocation",
    6: "Nobody pays for what did not arrive, no seller is silently unpaid",
    7: "Each upstream call has exactly one priced row",
    8: "Ledger, budget and provider's bill agree",
    9: '"Cannot check" is never "allowed"',
    10: "A cut answer never looks whole",
    11: "No event lost, no task doubled",
    12: "A terminal state is final, and everybody hears it",
    13: "No URL of a stranger reaches inside",
    14: "The cache never answers across callers",
    15: "A seller always knows why",
    16: "Ranking can be recomputed, and not be bought",
    17: "A buyer can check a metered charge",
    18: "No secret and no content in any output",
    19: "The card tells the truth",
    20: "Overhead is small and steady",
}
_NUMBER = re.compile(r"test_(\d\d)_")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seen: dict[int, list[str]] = {}
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.getreports(outcome):
            found = _NUMBER.match(Path(report.nodeid.split("::")[0]).name)
            if found and getattr(report, "when", "call") in ("call", "setup"):
                figures = [str(value) for name, value in report.user_properties if name == "figure"]
                seen.setdefault(int(found[1]), []).append(", ".join([outcome, *figures]))
    if not seen:
        return
    terminalreporter.section("promises")
    for number, title in TITLES.items():
        terminalreporter.write_line(f"{number:>2}  {title:<70} {'; '.join(seen.get(number, ['not shown yet']))}")
