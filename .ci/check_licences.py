#!/usr/bin/env python3
"""Check deny.toml's licences, banned crates and sources against the lockfile, in a second and without compiling cargo-deny.

`cargo deny check licenses bans sources` reads the same file and knows more (licence texts, clarifications, targets).
Reads `cargo metadata --format-version 1 --locked` from standard input. Exit status: 0 all is allowed, 1 something is not.
"""

import json
import re
import sys
import tomllib
from pathlib import Path

CRATES_IO = "/crates.io-index"  # how its address ends


def satisfied(expression, allowed):
    """Whether an SPDX expression can be met by allowed licences alone. AND binds closer than OR."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def either():
        result = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            result = both() or result
        return result

    def both():
        result = single()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            result = single() and result
        return result

    def single():
        token = tokens.pop(0)
        if token == "(":
            result = either()
            tokens.pop(0)
            return result
        if tokens and tokens[0] == "WITH":
            tokens.pop(0)
            token = f"{token} WITH {tokens.pop(0)}"
        return token in allowed

    return either()


def problems(packages, rules):
    allowed = set(rules["licenses"]["allow"])
    banned = {entry["crate"]: entry["reason"] for entry in rules["bans"]["deny"]}
    for package in packages:
        name = f"{package['name']} {package['version']}"
        if package["source"] is None:
            continue  # ours
        if not (package["source"].startswith("registry+") and package["source"].endswith(CRATES_IO)):
            yield f"{name}: comes from {package['source']}"
        if not package["license"]:
            yield f"{name}: names no licence"
        elif not satisfied(package["license"], allowed):
            yield f"{name}: {package['license']}"
        if package["name"] in banned:
            yield f"{name}: {banned[package['name']]}"


def self_test():
    allowed = {"MIT", "ISC", "Apache-2.0"}
    for expression in ("MIT", "GPL-3.0 OR MIT", "MIT/GPL-3.0", "MIT AND (ISC OR GPL-3.0)", "GPL-3.0 OR MIT AND ISC"):
        assert satisfied(expression, allowed), expression
    for expression in ("AGPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND BUSL-1.1", "Apache-2.0 WITH LLVM-exception"):
        assert not satisfied(expression, allowed), expression
    rules = {"licenses": {"allow": ["MIT"]}, "bans": {"deny": [{"crate": "bad", "reason": "banned"}]}}
    good = {"name": "good", "version": "1", "source": f"registry+{CRATES_IO}", "license": "MIT"}
    assert not list(problems([good], rules))
    for change in ({"license": "AGPL-3.0"}, {"license": None}, {"name": "bad"}, {"source": "git+https://example.com"}):
        assert len(list(problems([good | change], rules))) == 1, change


def main():
    self_test()
    rules = tomllib.loads((Path(__file__).parent.parent / "deny.toml").read_text(encoding="utf-8"))
    packages = json.load(sys.stdin)["packages"]
    found = list(problems(packages, rules))
    for problem in found:
        print(f"NOT ALLOWED {problem}", file=sys.stderr)
    print(f"{len(packages)} packages, {len(found)} not allowed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
