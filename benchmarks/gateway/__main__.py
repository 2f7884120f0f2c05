"""`python -m benchmarks.gateway [--quick] [--long] [--only NAME,...]`: the gateway benchmark alone."""

from __future__ import annotations

import argparse
import json

from rich.console import Console

from benchmarks.gateway import run, table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway")
    parser.add_argument("--quick", action="store_true", help="one short round each, under 90 s")
    parser.add_argument("--long", action="store_true", help="also a million requests, with the node's memory")
    parser.add_argument("--only", default="", help="names, with commas between: pass-through,portkey,litellm,…")
    parser.add_argument("--json", action="store_true", help="the figures as JSON, instead of tables")
    given = parser.parse_args()
    out = Console(stderr=given.json)
    only = tuple(name for name in given.only.split(",") if name)
    results = run.measure(out, quick=given.quick, long=given.long, only=only)
    if given.json:
        print(json.dumps(results))
    else:
        table.show(Console(), results)


if __name__ == "__main__":
    main()
