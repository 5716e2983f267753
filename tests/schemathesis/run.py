#!/usr/bin/env python3
"""Have schemathesis try to make the platform answer with something that its documents do not say.

Starts an ephemeral platform with limits out of the way, and runs schemathesis over both documents with what `hooks.py` adds.
Besides its checks, every operation must have been seen to succeed and to refuse.

Usage: run.py BINARY [option of schemathesis …]
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DOCUMENTS = ["/swagger.json", "/api/v1/openapi.json"]
LIMITS = ["Prodgy", "ProdgyStrict", "Prowpt", "AgentPlatform", "Account", "SignIn", "Unauthenticated"]
# What nothing can be wrong with: neither a credential nor anything else is taken.
CANNOT_REFUSE = {"GET /healthz", "GET /swagger", "GET /swagger.json", "GET /api/v1/docs", "GET /api/v1/openapi.json"}


@contextlib.contextmanager
def platform(binary, log):
    """The platform's URL and its first credentials, while it runs."""
    parameters = [part for limit in LIMITS for part in ("--param", f"{limit}LimitPerMinute=1000000")]
    command = [binary, "local", "--ephemeral", "--port", "0", *parameters]
    with open(log, "w") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        try:
            for _ in range(600):
                text = Path(log).read_text()
                ready = re.search(r"^ready (http://\S+)$", text, re.MULTILINE)
                if ready:
                    break
                if process.poll() is not None:
                    sys.exit(f"the platform ended:\n{text}")
                time.sleep(0.1)
            else:
                sys.exit(f"the platform is not ready after a minute:\n{text}")
            found = {name: re.search(rf"^  {name}\s+(.+)$", text, re.MULTILINE)[1] for name in ("sign in", "Prodgy", "Prowpt", "AgentPlatform")}
            yield ready[1], found
        finally:
            process.terminate()
            process.wait(30)


def operations(document):
    return {f"{method.upper()} {path}": it for path, item in document["paths"].items() for method, it in item.items()}


def missing(seen, documented):
    """What no request has brought about."""
    for name, operation in documented.items():
        statuses = seen.get(name, {})
        if not any(status.startswith("2") for status in statuses):
            yield f"{name} was never seen to succeed: {statuses}"
        if not any(status.startswith("4") for status in statuses) and name not in CANNOT_REFUSE:
            yield f"{name} was never seen to refuse: {statuses}"


def main():
    binary, *options = sys.argv[1:]
    problems = []
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch, "platform.log")
        with platform(binary, log) as (url, credentials):
            for index, path in enumerate(DOCUMENTS):
                seen = Path(scratch, f"seen-{index}.json")
                environment = {
                    **os.environ,
                    "PYTHONPATH": str(HERE),
                    "PLATFORM_URL": url,
                    "PLATFORM_CREDENTIALS": json.dumps(credentials),
                    "PLATFORM_SEEN": str(seen),
                }
                command = ["schemathesis", "--config-file", str(HERE / "schemathesis.toml"), "run", url + path, "--url", url, *options]
                command[0] = str(Path(sys.executable).with_name("schemathesis"))
                outcome = subprocess.run(command, cwd=scratch, env=environment).returncode
                if outcome != 0:
                    problems.append(f"schemathesis ended with {outcome} over {path}")
                document = json.load(urllib.request.urlopen(url + path))
                # The document itself is not asked for again.
                del document["paths"][path]
                problems += missing(json.loads(seen.read_text()), operations(document))
        failed = [line for line in log.read_text().splitlines() if '"request failed"' in line or "panicked" in line]
        problems += [f"logged: {line}" for line in failed[:10]]
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


main()
