"""What schemathesis cannot guess: a credential for each operation, and things that exist.

Most requests get the id of something that fits, made for the purpose where the request may end it. The rest go out as they
were generated, and some without a good credential, so that every operation is seen to succeed and to refuse.
"""

import atexit
import itertools
import json
import os
import threading
import time
import uuid
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
import schemathesis

URL = os.environ["PLATFORM_URL"]
GIVEN = json.loads(os.environ["PLATFORM_CREDENTIALS"])
EMAIL, PASSWORD = GIVEN["sign in"].split(" / ")
WEATHER = {"name": "NYC Weather", "type": "weather_check", "config": {"location": "New York"}}

lock = threading.RLock()
calls = defaultdict(itertools.count)
seen = defaultdict(Counter)
kept = {}


def call(method, path, credential=None, **arguments):
    headers = {"Authorization": f"Bearer {credential}"} if credential else {}
    answer = requests.request(method, URL + path, headers=headers, timeout=30, **arguments)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def once(make):
    """The same thing every time."""
    with lock:
        if make not in kept:
            kept[make] = make()
        return kept[make]


def signed_in():
    return call("POST", "/api/auth/login", json={"email": EMAIL, "password": PASSWORD})["data"]


def registered():
    body = {"email": f"{uuid.uuid4()}@example.com", "password": "Correct-horse-7", "name": "Ada"}
    return call("POST", "/api/auth/register", json=body)["data"]


def session():
    return once(signed_in)["access_token"]


def workspace():
    return once(signed_in)["workspace"]["id"]


def agent():
    return call("POST", "/api/v1/agents", GIVEN["AgentPlatform"], json=WEATHER)["data"]["id"]


def runner():
    """An agent that no other case pauses, and whose runs never fail: five failures would disable it."""
    body = {"name": "Reader", "type": "freeform", "config": {"instructions": "Sum it up."}}
    return call("POST", "/api/v1/agents", GIVEN["AgentPlatform"], json=body)["data"]["id"]


def run():
    body = {"type": "custom_event", "payload": {}}
    return call("POST", f"/api/v1/agents/{once(runner)}/signals", GIVEN["AgentPlatform"], json=body)["data"]["run_id"]


class Slow(BaseHTTPRequestHandler):
    """Answers after a while."""

    def do_GET(self):
        time.sleep(2)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def slow_server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"127.0.0.1:{server.server_port}"


def slow_agent():
    """An agent that is at work for some seconds."""
    host = once(slow_server)
    directives = "\n".join(f'@http_request {{"url": "http://{host}/{number}"}}' for number in range(3))
    config = {"instructions": directives, "tools": ["http_request"], "allowed_hosts": [host]}
    body = {"name": "Slow", "type": "freeform", "config": config}
    return call("POST", "/api/v1/agents", GIVEN["AgentPlatform"], json=body)["data"]["id"]


def at_work():
    path = f"/api/agent-base/{once(slow_agent)}/executions"
    return call("POST", path, GIVEN["Prodgy"], json={})["data"]["execution_id"]


def paused():
    execution = at_work()
    call("POST", f"/api/workflow/{execution}/pause", GIVEN["Prodgy"])
    return execution


def finished():
    """A run that is over: its stream of events comes to an end."""
    made = run()
    while call("GET", f"/api/v1/runs/{made}", GIVEN["AgentPlatform"])["data"]["status"] in ("queued", "running"):
        time.sleep(0.1)
    return made


def make_room():
    """Ends the tokens and keys that were made: a workspace has at most a hundred. The requests are made with the first ones."""
    for listed, path in ((f"/api/api-tokens/product/{workspace()}", "/api/api-tokens"), ("/api/settings/api-keys",) * 2):
        page = call("GET", listed, session(), params={"limit": 100})
        for it in page["data" if "data" in page else "items"]:
            if it["name"] != "first start":
                call("DELETE", f"{path}/{it['id']}", session())


def token():
    return call("POST", "/api/api-tokens", session(), json={"name": "made"})["data"]["id"]


def key():
    return call("POST", "/api/settings/api-keys", session(), json={"name": "made", "scopes": ["*"]})["id"]


def spare_workspace():
    made = call("POST", "/api/workspaces", session(), json={"name": "Spare"})["data"]
    return made["id"]


def credential():
    body = {"name": "made", "provider": "openai", "secret": "sk-made-for-the-fuzzer"}
    return call("POST", "/api/v1/credentials", GIVEN["AgentPlatform"], json=body)["data"]["id"]


def shared_credential():
    """One that can be the organization's default."""
    body = {"name": "made", "provider": "openai", "secret": "sk-made-for-the-fuzzer", "scope": "organization"}
    return call("POST", "/api/v1/credentials", GIVEN["AgentPlatform"], json=body)["data"]["id"]


def member():
    return call("POST", "/api/organization/members", session(), json={"email": f"{uuid.uuid4()}@example.com"})["data"]["id"]


# By the beginning of the path: what its `{id}` names.
NAMED = {
    "/api/v1/agents/": agent,
    "/api/v1/credentials/{id}/default": shared_credential,
    "/api/v1/credentials/": credential,
    "/api/v1/runs/": run,
    "/api/agent-base/product/": workspace,
    "/api/agent-base/{id}/executions/": runner,
    "/api/agent-base/": agent,
    "/api/api-tokens/product/": workspace,
    "/api/api-tokens/": token,
    "/api/settings/api-keys/": key,
    "/api/organization/members/": member,
    "/api/workspaces/": workspace,
    "/api/workflow/{id}/events": finished,
    "/api/workflow/": run,
}
# What each of the first requests of these gets one of its own of; later ones find it over.
BUSY = {
    "/api/workflow/{id}/stop": at_work,
    "/api/workflow/{id}/pause": at_work,
    "/api/workflow/{id}/continue": paused,
}
# These end the session that they are called with.
ENDING = {"POST /api/auth/logout", "POST /api/auth/password", "DELETE /api/organization"}
CREDENTIALS = {
    "Session": lambda: {"Authorization": f"Bearer {session()}"},
    "ProdgyToken": lambda: {"X-API-Token": GIVEN["Prodgy"]},
    "ProdgyBearer": lambda: {"Authorization": f"Bearer {GIVEN['Prodgy']}"},
    "ProwptKey": lambda: {"X-API-Key": GIVEN["Prowpt"]},
    "ProwptBearer": lambda: {"Authorization": f"Bearer {GIVEN['Prowpt']}"},
    "AgentPlatformKey": lambda: {"Authorization": f"Bearer {GIVEN['AgentPlatform']}"},
}


def identify(case, number):
    path, parameters = case.operation.path, case.path_parameters
    if (case.method, path) == ("DELETE", "/api/workspaces/{id}"):
        parameters["id"] = spare_workspace()
        case.query["name"] = "Spare"
    elif path in BUSY and number < 5:
        parameters["id"] = BUSY[path]()
    elif "id" in parameters:
        make = next(make for prefix, make in NAMED.items() if path.startswith(prefix))
        ends = case.method == "DELETE" or path.endswith("/revoke") or path == "/api/v1/agents/{id}/pause"
        parameters["id"] = make() if ends or make in (token, key) else once(make)
    if "executionId" in parameters:
        parameters["executionId"] = once(run)
    if "file" in parameters:
        parameters["file"] = "swagger-ui.css"


def correct(case, number):
    """Bodies that depend on what there is, every other time."""
    name = f"{case.method} {case.operation.path}"
    if number % 2 or not isinstance(case.body, dict):
        return
    if name == "POST /api/auth/login":
        case.body |= {"email": EMAIL, "password": PASSWORD}
    elif name == "POST /api/auth/register":
        case.body = {"email": f"{uuid.uuid4()}@example.com", "password": "Correct-horse-7", "name": "Ada"}
    elif name == "POST /api/auth/refresh":
        case.body["refresh_token"] = registered()["refresh_token"]
    elif name == "POST /api/organization/members":
        case.body |= {"email": f"{uuid.uuid4()}@example.com", "workspaces": None}
    elif name == "POST /api/auth/password":
        case.body |= {"current_password": "Correct-horse-7", "new_password": "Correct-horse-8"}


def authorize(case, number):
    schemes = [name for requirement in case.operation.definition.raw.get("security", []) for name in requirement]
    if not schemes:
        return
    headers = CREDENTIALS[schemes[number % len(schemes)]]()
    if case.operation.label in ENDING:
        made = registered()
        headers = {"Authorization": f"Bearer {made['access_token']}"}
        if case.operation.label == "DELETE /api/organization" and number % 3 < 2:
            case.query["name"] = made["organization"]["name"]
    if number % 10 == 9:
        headers = {name: value[:-3] + "xxx" for name, value in headers.items()}
    case.headers.update(headers)


@schemathesis.hook
def before_call(context, case, kwargs):
    with lock:
        number = next(calls[case.operation.label])
        if number % 20 == 0:
            make_room()
    if number % 3 < 2:
        identify(case, number)
        # These choose another tenant, which a token refuses.
        (case.query or {}).pop("product_id", None)
        (case.query or {}).pop("workspace_id", None)
        (case.headers or {}).pop("Idempotency-Key", None)
        correct(case, number)
    authorize(case, number)


@schemathesis.hook
def after_call(context, case, response):
    # Not a method that the operation lacks, which is tried too.
    if case.method.upper() == case.operation.method.upper():
        with lock:
            seen[case.operation.label][response.status_code] += 1


@atexit.register
def report():
    with open(os.environ["PLATFORM_SEEN"], "w") as file:
        json.dump(seen, file)
