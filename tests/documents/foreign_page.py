#!/usr/bin/env python3
"""Be a web page of another origin, in headless Chromium: what it may read of a platform on the same machine, at every port.

The page asks across origins, and as a page whose name was led to this machine (DNS rebinding), when browser and service take
it for a page of the service itself. A form that the platform has signed for its own pages is tried from either.

Usage: foreign_page.py BINARY
"""

import base64
import contextlib
import datetime
import hashlib
import hmac
import http.server
import json
import sys
import tempfile
import threading
from pathlib import Path

import instance
from chromium import browser

PAGE = "evil.example"
TARGETS = {
    "DynamoDB_20120810.Scan": {"TableName": "signalbox-RecordsTable"},
    "secretsmanager.GetSecretValue": {"SecretId": "signalbox-MasterSecret"},
    "AmazonSQS.ListQueues": {},
}
# Asks as a page can; answers with what it got to read: [status, text], or why it read nothing.
ASK = """
const [requests, done] = [arguments[0], arguments[1]];
const ask = async ([url, options]) => {
  try {
    const response = await fetch(url, options);
    return [response.type == 'opaque' ? 'opaque' : response.status, await response.text()];
  } catch (error) {
    return ['nothing', String(error)];
  }
};
Promise.all(requests.map(ask)).then(done);
"""
UPLOAD = """
const [url, fields, done] = arguments;
const form = new FormData();
for (const [name, value] of fields) form.append(name, value);
form.append('file', new Blob(['what a page uploads']), 'f');
fetch(url, {method: 'POST', body: form}).then(async it => done([it.status, await it.text()]), error => done(['nothing', String(error)]));
"""


@contextlib.contextmanager
def page_of_another_origin():
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>evil</title>")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{PAGE}:{server.server_port}/"
    server.shutdown()


def listening(process):
    """The TCP ports that a process listens on."""
    sockets = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):
            sockets.add(descriptor.readlink().name)
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                ports.add(int(fields[1].rsplit(":")[-1], 16))
    return ports


def requests(address):
    """What a page may send to a service: without asking first, and with."""
    yield [address, {}]
    yield [address, {"mode": "no-cors"}]
    yield [address + "signalbox-filesbucket?list-type=2", {}]
    yield [address + "2018-06-01/runtime/invocation/next", {}]
    for target, body in TARGETS.items():
        options = {"method": "POST", "body": json.dumps(body)}
        yield [address, {**options, "mode": "no-cors"}]
        yield [address, options]
        yield [address, {**options, "headers": {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.0"}}]


def presigned_form(access):
    """Where a form goes and its fields, signed with the platform's key for one object."""
    now = datetime.datetime.now(datetime.timezone.utc)
    date, time = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
    bucket = "signalbox-filesbucket"
    fields = {
        "key": "u/page",
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{access['AWS_ACCESS_KEY_ID']}/{date}/us-east-1/s3/aws4_request",
        "x-amz-date": time,
    }
    policy = {
        "expiration": (now + datetime.timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "conditions": [{"bucket": bucket}, *({name: value} for name, value in fields.items())],
    }
    fields["policy"] = base64.b64encode(json.dumps(policy).encode()).decode()
    key = f"AWS4{access['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in (date, "us-east-1", "s3", "aws4_request", fields["policy"]):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    fields["x-amz-signature"] = key.hex()
    return f"{access['AWS_ENDPOINT_URL_S3']}/{bucket}", list(fields.items())


def main():
    [binary] = sys.argv[1:]
    resolver = f"--host-resolver-rules=MAP {PAGE} 127.0.0.1"
    with tempfile.TemporaryDirectory() as scratch, page_of_another_origin() as page, browser(resolver) as driver:
        data = Path(scratch, "data")
        with instance.started(binary, Path(scratch, "platform.log"), "--data-dir", str(data)) as platform:
            gateway = int(platform.url.rsplit(":")[-1])
            ports = listening(platform.process.pid)
            assert gateway in ports and len(ports) > 4, ports
            ask = lambda asked: driver.execute_async_script(ASK, list(asked))

            driver.get(page)
            for port in ports - {gateway}:
                for host in ("127.0.0.1", "localhost", PAGE):
                    for (url, options), (status, text) in zip(asked := list(requests(f"http://{host}:{port}/")), ask(asked)):
                        assert status in ("nothing", "opaque"), (url, options, status, text)
            # The browser counts this as the page's own service.
            for port in ports:
                driver.get(f"http://{PAGE}:{port}/")
                assert driver.execute_script("return location.port") == str(port), driver.page_source
                assert "signalbox-" not in driver.page_source, driver.page_source
                for (url, options), (status, text) in zip(asked := list(requests(f"http://{PAGE}:{port}/")), ask(asked)):
                    assert status in (403, "nothing"), (url, options, status, text)
                    assert "signalbox-" not in text, text
            [[status, text]] = ask([[f"http://{PAGE}:{gateway}/healthz", {}]])
            assert status == 403 or status == "nothing", (status, text)
            driver.get(f"http://{PAGE}:{gateway}/healthz")
            assert "AllowedHosts" in driver.page_source, driver.page_source

            access = dict(line.split("=", 1) for line in (data / "aws.env").read_text().splitlines())
            url, fields = presigned_form(access)
            driver.get(page)
            status, text = driver.execute_async_script(UPLOAD, url, fields)
            assert status == "nothing", (status, text)
            stored = list(data.glob("s3/**/u/page"))
            assert not stored, stored
            driver.get(platform.url + "/healthz")  # a page without rules about what it may ask
            status, text = driver.execute_async_script(UPLOAD, url, [["key", "u/other"], *fields[1:]])
            assert status in (400, 403), (status, text)
            status, text = driver.execute_async_script(UPLOAD, url, fields)
            assert status == 204, (status, text)
            assert [it.read_text() for it in data.glob("s3/**/u/page")] == ["what a page uploads"]
    print(f"a page of another origin reads nothing at {len(ports)} ports; a signed form uploads from the platform's own page alone")


main()
