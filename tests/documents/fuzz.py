#!/usr/bin/env python3
"""Have schemathesis try to make the platform answer with something that its documents do not say.

The documents have to be valid OpenAPI, and their examples what their schemas say. Then schemathesis runs over both, with what
`hooks.py` adds. Besides its checks, every operation must have been seen to succeed and to refuse, and the platform must not
have logged a failure.

Usage: fuzz.py BINARY [option of `schemathesis run` …]
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import instance
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator

HERE = Path(__file__).resolve().parent
DOCUMENTS = ["/swagger.json", "/api/v1/openapi.json"]
# For super admins, whom only the command line makes, while no platform runs.
REFUSED = {"PUT /api/organization/plan"}


def operations(document):
    return {f"{method.upper()} {path}": it for path, item in document["paths"].items() for method, it in item.items()}


def missing(seen, documented):
    """What no request has brought about."""
    for name, operation in documented.items():
        statuses = seen.get(name, {})
        for word, first in (("succeed", "2"), ("refuse", "4")):
            promised = any(status.startswith(first) for status in operation["responses"])
            promised = promised and not (word == "succeed" and name in REFUSED)
            if promised and not any(status.startswith(first) for status in statuses):
                yield f"{name} was never seen to {word}: {statuses}"


def examples(document):
    """(where, schema, example)"""
    components = document["components"]
    for name, schema in components["schemas"].items():
        for where, it in [(name, schema), *((f"{name}.{member}", it) for member, it in schema.get("properties", {}).items())]:
            for example in [*([it["example"]] if "example" in it else []), *it.get("examples", [])]:
                yield where, it, example
    for name, response in components["responses"].items():
        content = response["content"]["application/json"]
        yield name, content["schema"], content["example"]


def invalid(path, document):
    """What is wrong with a document by itself."""
    for error in OpenAPIV31SpecValidator(document).iter_errors():
        yield f"{path}: {'/'.join(map(str, error.absolute_path))}: {error.message}"
    for where, schema, example in examples(document):
        validator = Draft202012Validator({**schema, "components": document["components"]}, format_checker=FormatChecker())
        for error in validator.iter_errors(example):
            yield f"{path}: the example of {where}: {error.message}"


def fuzz(url, path, credentials, scratch, options):
    """What is wrong with the document at `path`."""
    with urllib.request.urlopen(url + path) as answer:
        document = json.load(answer)
    yield from invalid(path, document)
    seen = Path(scratch, "seen.json")
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE),
        "PLATFORM_URL": url,
        "PLATFORM_CREDENTIALS": json.dumps(credentials),
        "PLATFORM_SEEN": str(seen),
    }
    schemathesis = Path(sys.executable).with_name("schemathesis")
    command = [schemathesis, "--config-file", HERE / "schemathesis.toml", "run", url + path, "--url", url, *options]
    outcome = subprocess.run(command, cwd=scratch, env=environment).returncode
    if outcome != 0:
        yield f"schemathesis ended with {outcome} over {path}"
    # The document itself is not asked for again.
    del document["paths"][path]
    yield from missing(json.loads(seen.read_text()), operations(document))


def main():
    binary, *options = sys.argv[1:]
    problems = []
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch, "platform.log")
        with instance.running(binary, log) as (url, credentials):
            for path in DOCUMENTS:
                problems += fuzz(url, path, credentials, scratch, options)
        failed = [line for line in log.read_text().splitlines() if "request failed" in line or "panicked" in line]
        problems += [f"logged: {line}" for line in failed[:10]]
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


main()
