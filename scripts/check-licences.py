#!/usr/bin/env python3
"""Checks every dependency against deny.toml: licences, banned crates and sources.

cargo-deny reads the same file and knows more, but takes more than five minutes to compile on two cores; this needs
only Python, so the check is never skipped. Standard library of Python 3.11 only.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
METADATA_DEADLINE_S = 300


def is_allowed(expression: str, allowed: set[str]) -> bool:
    """Evaluates an SPDX expression: OR needs one side, AND needs both, WITH belongs to the licence before it."""
    # Before SPDX, crates wrote MIT/Apache-2.0 and meant OR.
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    position = 0

    def peek() -> str | None:
        return tokens[position] if position < len(tokens) else None

    def take() -> str:
        nonlocal position
        if position == len(tokens):
            raise ValueError(f"unfinished licence expression: {expression}")
        position += 1
        return tokens[position - 1]

    def either() -> bool:
        result = both()
        while peek() == "OR":
            take()
            result = both() or result
        return result

    def both() -> bool:
        result = one()
        while peek() == "AND":
            take()
            result = one() and result
        return result

    def one() -> bool:
        token = take()
        if token == "(":
            result = either()
            if take() != ")":
                raise ValueError(f"unbalanced licence expression: {expression}")
            return result
        if peek() == "WITH":
            take()
            token = f"{token} WITH {take()}"
        return token in allowed

    result = either()
    if peek() is not None:
        raise ValueError(f"cannot read the licence expression: {expression}")
    return result


def problems_of(packages: list[dict], rules: dict) -> list[str]:
    """Returns one line for each thing that deny.toml does not allow."""
    allowed = set(rules["licenses"]["allow"])
    exceptions = {entry["crate"]: set(entry["allow"]) for entry in rules["licenses"].get("exceptions", [])}
    banned = {entry["crate"]: entry.get("reason", "") for entry in rules["bans"].get("deny", [])}
    problems = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        if package["name"] in banned:
            problems.append(f"{name} is banned: {banned[package['name']]}")
        if package["source"] is None:
            continue  # our own
        if not package["source"].startswith("registry+"):
            problems.append(f"{name} comes from {package['source'].split('+')[0]} and not from a registry")
        licence = package["license"]
        if licence is None:
            problems.append(f"{name} names no licence")
            continue
        try:
            if not is_allowed(licence, allowed | exceptions.get(package["name"], set())):
                problems.append(f"{name} has the licence {licence}")
        except ValueError as error:
            problems.append(f"{name}: {error}")
    return problems


def self_test() -> None:
    """Shows that each kind of problem is seen."""
    allowed = {"MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "ISC"}
    for expression, expected in [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT/GPL-3.0-only", True),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only AND MIT", False),
        ("MIT AND (GPL-3.0-only OR ISC)", True),
        ("(MIT OR ISC) AND GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only AND ISC", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("Apache-2.0 WITH other-exception", False),
    ]:
        assert is_allowed(expression, allowed) is expected, expression
    rules = {"licenses": {"allow": ["MIT"]}, "bans": {"deny": [{"crate": "bad", "reason": "because"}]}}
    package = {"name": "a", "version": "1.0.0", "source": "registry+x", "license": "MIT"}
    assert problems_of([package], rules) == []
    assert problems_of([package | {"name": "bad"}], rules) == ["bad 1.0.0 is banned: because"]
    assert problems_of([package | {"license": None}], rules) == ["a 1.0.0 names no licence"]
    assert problems_of([package | {"license": "GPL-2.0-only"}], rules) == ["a 1.0.0 has the licence GPL-2.0-only"]
    assert problems_of([package | {"license": "MIT AND"}], rules) == ["a 1.0.0: unfinished licence expression: MIT AND"]
    assert problems_of([package | {"source": "git+x"}], rules) == ["a 1.0.0 comes from git and not from a registry"]
    assert problems_of([package | {"source": None, "license": None}], rules) == []


def main() -> int:
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    command = ["cargo", "metadata", "--locked", "--all-features", "--format-version=1"]
    for target in rules["graph"]["targets"]:
        command += ["--filter-platform", target]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False, timeout=METADATA_DEADLINE_S)
    if run.returncode != 0:
        return run.returncode
    packages = json.loads(run.stdout)["packages"]
    problems = problems_of(packages, rules)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"{len(packages)} crates: licences, bans and sources are as deny.toml asks")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
