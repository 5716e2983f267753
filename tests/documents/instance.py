"""A platform to ask: ephemeral, with limits out of the way."""

import contextlib
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LIMITS = ["Prodgy", "ProdgyStrict", "Prowpt", "AgentPlatform", "Account", "SignIn", "Unauthenticated", "Organization"]


@dataclass
class Platform:
    url: str
    credentials: dict
    process: subprocess.Popen


@contextlib.contextmanager
def running(binary, log):
    """The platform's URL and its first credentials, while it runs. What it says is in the file `log`."""
    with started(binary, log, "--ephemeral") as platform:
        yield platform.url, platform.credentials


@contextlib.contextmanager
def started(binary, log, *arguments):
    """A platform, while it runs."""
    parameters = [part for limit in LIMITS for part in ("--param", f"{limit}LimitPerMinute=1000000")]
    parameters += ["--param", "AccountSignInLimitPerMinute=1000000", "--param", "InvitationLimitPerHour=1000000"]
    parameters += ["--param", "OutboundAllowLoopback=true"]
    command = [Path(binary).resolve(), "local", "--port", "0", *parameters, *arguments]
    with open(log, "w") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    try:
        text = until_ready(process, log)
        url = re.search(r"^ready (http://\S+)$", text, re.MULTILINE)[1]
        names = ("sign in", "Prodgy", "Prowpt", "AgentPlatform")
        credentials = {name: re.search(rf"^  {name}\s+(.+)$", text, re.MULTILINE)[1] for name in names}
        yield Platform(url, credentials, process)
    finally:
        process.terminate()
        process.wait(30)


def until_ready(process, log):
    for _ in range(600):
        text = Path(log).read_text()
        if re.search(r"^ready ", text, re.MULTILINE):
            return text
        if process.poll() is not None:
            sys.exit(f"the platform ended:\n{text}")
        time.sleep(0.1)
    sys.exit(f"the platform is not ready after a minute:\n{text}")
