#!/usr/bin/env python3
"""Make clients of the API documents, as users do, and work with one.

Both documents have to please a linter and become clients in Python and TypeScript without a warning. The one in Python then
lists, creates, signals and reads a run.

Usage: clients.py BINARY NODE_MODULES
"""

import importlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import instance

HERE = Path(__file__).resolve().parent
DOCUMENTS = {"everything": "/swagger.json", "agentplatform": "/api/v1/openapi.json"}
# Node.js is installed beside this Python.
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "REDOCLY_TELEMETRY": "off",
    "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true",
}


def quiet(command, scratch):
    """What a command says, which must not have failed or warned."""
    outcome = subprocess.run(command, cwd=scratch, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    said = outcome.stdout + outcome.stderr
    if outcome.returncode != 0 or "warning" in said.lower():
        sys.exit(f"{' '.join(map(str, command))} ended with {outcome.returncode}:\n{said}")
    return said


def generate(name, scratch, node_modules):
    """Makes the package `name` from the document of this name."""
    tools = node_modules / ".bin"
    document = f"{name}.json"
    quiet([tools / "redocly", "lint", document, "--config", HERE / "redocly.yaml"], scratch)
    quiet([tools / "openapi-typescript", document, "--output", f"{name}.ts"], scratch)
    quiet([tools / "tsc", "--noEmit", "--strict", f"{name}.ts"], scratch)
    python = ["openapi-python-client", "generate", "--fail-on-warning", "--meta", "none", "--path", document, "--output-path", name]
    quiet([Path(sys.executable).with_name(python[0]), *python[1:]], scratch)


def work(url, key):
    """Uses the generated package as a script of a user's would."""
    from agentplatform import AuthenticatedClient
    from agentplatform.api.agents import create_agent, list_agents
    from agentplatform.api.runs import get_run, list_runs
    from agentplatform.api.signals import send_signal
    from agentplatform.models import AgentPlatformError, AgentStatus, CreateAgent, SendSignal

    with AuthenticatedClient(base_url=url, token=key, raise_on_unexpected_status=True) as client:
        body = {"name": "Reader", "type": "freeform", "config": {"instructions": "Sum it up."}}
        agent = create_agent.sync(client=client, body=CreateAgent.from_dict(body)).data
        listed = list_agents.sync(client=client, limit=1)
        assert [it.id for it in listed.data] == [agent.id], listed
        assert listed.data[0].status is AgentStatus.IDLE, listed

        text = "The disk filled up at noon, as logs were not rotated."
        signal = send_signal.sync(agent.id, client=client, body=SendSignal.from_dict({"type": "report", "payload": {"text": text}}))
        until = time.monotonic() + 30
        while (run := get_run.sync(signal.data.run_id, client=client).data).status in ("queued", "running"):
            assert time.monotonic() < until, run
            time.sleep(0.1)
        assert run.status == "completed" and "disk" in run.output["text"], run
        assert [it.id for it in list_runs.sync(agent.id, client=client).data] == [run.id]

        missing = get_run.sync(agent.id, client=client)
        assert isinstance(missing, AgentPlatformError) and missing.errors.detail == "Not Found", missing


def main():
    binary, node_modules = sys.argv[1], Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as scratch:
        with instance.running(binary, Path(scratch, "platform.log")) as (url, credentials):
            for name, path in DOCUMENTS.items():
                with urllib.request.urlopen(url + path) as answer:
                    Path(scratch, f"{name}.json").write_bytes(answer.read())
                generate(name, scratch, node_modules)
            sys.path.insert(0, scratch)
            # All of it can be loaded, not only what is used here.
            for file in Path(scratch, "everything").rglob("*.py"):
                importlib.import_module(".".join(file.relative_to(scratch).with_suffix("").parts).removesuffix(".__init__"))
            work(url, credentials["AgentPlatform"])
    print("both documents are made clients of, and one lists, creates, signals and reads a run")


main()
