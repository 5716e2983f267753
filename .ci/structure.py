#!/usr/bin/env python3
"""Prints the shape of the code, and fails where it has lost it.

Fails for: product names in code below `web`, dialect decisions outside `web/src/dialects`, circles between the files of a crate and
between the folders of infra/local, and functions that depend on functions other than through the list of groups. Lengths of files and
functions are printed for reading.
"""

import re
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRODUCTS = re.compile(r"\b(Prodgy|Prowpt|AgentPlatform)\b")
# What may name the products: the dialects themselves, what is written in them, and the kinds of tokens.
BELOW_WEB = ["auth", "domain", "engine", "keyring", "llm", "outbound", "runtime", "store", "tools"]


def sources():
    listed = subprocess.run(["git", "ls-files", "*.rs"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [Path(line) for line in listed.stdout.splitlines()]


def without_comments(text):
    """The code of a file, with comments, strings and chars blanked and lines kept."""
    pattern = re.compile(
        r"//[^\n]*|/\*.*?\*/|b?r(#*)\".*?\"\1|b?\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\\n])'", re.S
    )
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match.group(0)), text)


def without_tests(code):
    """The code without its `#[cfg(test)]` items."""
    out, position = [], 0
    for match in re.finditer(r"#\[cfg\(test\)\]\s*", code):
        if match.start() < position:
            continue
        out.append(code[position : match.start()])
        opening = re.compile(r"[;{]").search(code, match.end())
        end = len(code) if opening is None else opening.end()
        if opening is not None and opening.group() == "{":
            end = closing(code, opening.start()) + 1
        out.append("\n" * code.count("\n", match.start(), end))
        position = end
    out.append(code[position:])
    return "".join(out)


def closing(code, opening):
    depth = 0
    for index in range(opening, len(code)):
        depth += {"{": 1, "}": -1}.get(code[index], 0)
        if depth == 0:
            return index
    return len(code) - 1


def is_test(path):
    return "tests" in path.parts or path.name == "tests.rs" or path.parts[:2] == ("shared", "testkit")


def module_of(path):
    """The module path of a file below its crate's src."""
    parts = list(path.with_suffix("").parts)
    if parts[-1] in ("mod", "lib", "main"):
        parts.pop()
    return tuple(parts)


def expand(tree, prefix=()):
    """The paths of a `use` tree: `a::{b, c::d}` is a::b and a::c::d."""
    tree = tree.strip()
    if "{" not in tree:
        head = re.sub(r"\s+as\s+\w+$", "", tree)
        yield prefix + tuple(part.strip() for part in head.split("::") if part.strip())
        return
    head, rest = tree.split("{", 1)
    inner = rest.rsplit("}", 1)[0]
    base = prefix + tuple(part.strip() for part in head.split("::") if part.strip())
    depth, start = 0, 0
    for index, character in enumerate(inner + ","):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            if inner[start:index].strip():
                yield from expand(inner[start:index], base)
            start = index + 1


def references(code, module):
    """The module paths within its crate that a file refers to, as tuples."""
    used = []
    rest = code
    for match in re.finditer(r"(?:pub(?:\([\w\s]+\))?\s+)?use\s+([^;]+);", code):
        is_export = match.group(0).startswith("pub")
        used += [(path, is_export) for path in expand(match.group(1))]
    rest = re.sub(r"(?:pub(?:\([\w\s]+\))?\s+)?use\s+[^;]+;", " ", code)
    for match in re.finditer(r"\b((?:crate|self|super)(?:::\w+)+)", rest):
        used.append((tuple(match.group(1).split("::")), False))
    for path, is_export in used:
        base = module
        if path[:1] == ("crate",):
            yield path[1:], is_export
        elif path[:1] == ("self",):
            yield base + path[1:], is_export
        elif path[:1] == ("super",):
            while path[:1] == ("super",):
                base, path = base[:-1], path[1:]
            yield base + path, is_export
        elif is_export or path:
            yield base + path, is_export


def crate_graph(source, files):
    """Which file of a crate refers to which. What a parent re-exports counts as the file that has it."""
    modules = {module_of(path.relative_to(source)): path for path in files}
    codes = {path: without_tests(without_comments((ROOT / path).read_text())) for path in files}
    exports = {}

    def resolve(path):
        for length in range(len(path), -1, -1):
            if path[:length] in modules:
                return path[:length], path[length:]
        return (), path

    for module, path in modules.items():
        for target, is_export in references(codes[path], module):
            if is_export and target:
                exports[(module, target[-1])] = target
    edges = {path: set() for path in files}
    for module, path in modules.items():
        for target, is_export in references(codes[path], module):
            found, rest = resolve(target)
            hops = 0
            while rest and (found, rest[0]) in exports and hops < 5:
                following = exports[(found, rest[0])]
                if following == target:
                    break
                found, rest = resolve(following + rest[1:])
                hops += 1
            other = modules.get(found)
            is_own_child = found[: len(module)] == module and is_export
            if other and other != path and not is_own_child and (found or rest):
                edges[path].add(other)
    return edges


def circles(edges):
    """The strongly connected components with more than one node (Tarjan)."""
    index, low, stack, on, found = {}, {}, [], set(), []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        on.add(node)
        for other in edges.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in on:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = []
            while True:
                other = stack.pop()
                on.discard(other)
                component.append(other)
                if other == node:
                    break
            if len(component) > 1:
                found.append(sorted(component))

    sys.setrecursionlimit(10_000)
    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found


def report(title, faults):
    print(f"{title}: {len(faults)}")
    for fault in faults:
        print(f"  {fault}")
    return bool(faults)


def main():
    all_files = sources()
    product_files = [path for path in all_files if not is_test(path)]
    failed = False

    named = []
    for path in product_files:
        if path.parts[0] != "shared" or path.parts[1] not in BELOW_WEB:
            continue
        if path.parts[1] == "domain" and path.parts[-1] == "token.rs":
            continue
        code = without_tests(without_comments((ROOT / path).read_text()))
        named += [f"{path}:{n}" for n, line in enumerate(code.splitlines(), 1) if PRODUCTS.search(line)]
    failed |= report("product names in code below web", named)

    decisions = []
    for path in product_files:
        if "dialects" in path.parts:
            continue
        code = without_tests(without_comments((ROOT / path).read_text()))
        decisions += [
            f"{path}:{n}"
            for n, line in enumerate(code.splitlines(), 1)
            if re.search(r"\bDialect::[A-Z]\w*|dialects::(prodgy|prowpt|agentplatform|account)\b", line)
        ]
    failed |= report("dialect decisions outside web/src/dialects", decisions)

    rings = []
    for manifest in sorted(ROOT.glob("*/*/Cargo.toml")):
        source = (manifest.parent / "src").relative_to(ROOT)
        files = [path for path in product_files if path.is_relative_to(source)]
        if not files:
            continue
        edges = crate_graph(source, files)
        for ring in circles(edges):
            rings.append(" ".join(str(path) for path in ring))
            for path in ring:
                for other in sorted(edges[path] & set(ring)):
                    rings[-1] += f"\n    {path.relative_to(source)} -> {other.relative_to(source)}"
        if source == Path("infra/local/src"):
            folders = {}
            for path, others in edges.items():
                here = path.relative_to(source).parts
                if len(here) < 2:
                    continue
                for other in others:
                    there = other.relative_to(source).parts
                    if len(there) > 1 and there[0] != here[0]:
                        folders.setdefault(here[0], set()).add(there[0])
                        folders.setdefault(there[0], set())
            local = [
                " ".join(ring) + "".join(f"\n    {a} -> {b}" for a in ring for b in sorted(folders[a] & set(ring)))
                for ring in circles(folders)
            ]
    failed |= report("circles between files of a crate", rings)
    failed |= report("circles between folders of infra/local", local)

    functions = {path.name for path in (ROOT / "functions").iterdir() if path.is_dir()}
    crossing = []
    for name in sorted(functions):
        manifest = tomllib.loads((ROOT / "functions" / name / "Cargo.toml").read_text())
        crossing += [f"{name} depends on {other}" for other in manifest.get("dependencies", {}) if other in functions]
    failed |= report("functions that depend on functions", crossing)

    lengths = {path: (ROOT / path).read_text().count("\n") for path in product_files}
    function_lengths = []
    for path in product_files:
        code = without_tests(without_comments((ROOT / path).read_text()))
        for match in re.finditer(r"^\s*(?:pub(?:\([^)]*\))?\s+)?(?:const\s+)?(?:async\s+)?fn\s+(\w+)", code, re.M):
            opening = re.compile(r"[;{]").search(code, match.end())
            if opening and opening.group() == "{":
                lines = code.count("\n", match.start(1), closing(code, opening.start())) + 1
                function_lengths.append((lines, f"{path}: {match.group(1)}"))
    for what, numbers, longest in [
        ("files", list(lengths.values()), sorted(((n, str(p)) for p, n in lengths.items()), reverse=True)[:5]),
        ("functions", [n for n, _ in function_lengths], sorted(function_lengths, reverse=True)[:5]),
    ]:
        p90 = statistics.quantiles(numbers, n=10)[-1]
        print(f"{what}: {len(numbers)}, median {statistics.median(numbers):.0f} lines, p90 {p90:.0f}")
        for number, name in longest:
            print(f"  {number:4d}  {name}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
