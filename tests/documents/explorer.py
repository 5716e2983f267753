#!/usr/bin/env python3
"""Use the explorer as people do: sign in with a token, "Try it out", "Execute", in headless Chromium.

One page is used at the root of a host and one below a stage, as API Gateway serves them. Nothing may be asked for elsewhere,
and the browser may complain about nothing.

Usage: explorer.py BINARY
"""

import contextlib
import http.server
import json
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

import instance
from chromium import browser
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

STAGE = "/dev"


@contextlib.contextmanager
def behind_a_stage(url):
    """A URL with the stage in its path that leads to the platform."""

    class Forward(http.server.BaseHTTPRequestHandler):
        def answer(self):
            if not self.path.startswith(STAGE + "/"):
                return self.send_error(404)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
            request = urllib.request.Request(url + self.path.removeprefix(STAGE), body or None, headers, method=self.command)
            try:
                response = urllib.request.urlopen(request)
            except urllib.error.HTTPError as error:
                response = error
            content = response.read()
            self.send_response(response.status)
            for name, value in response.headers.items():
                if name.lower() not in ("transfer-encoding", "connection", "content-length", "date"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_OPTIONS = answer

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forward)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}{STAGE}"
    server.shutdown()


class Explorer:
    def __init__(self, driver, page):
        self.driver = driver
        driver.get(page)
        self.find(".opblock")

    def find(self, selector, within=None):
        """The element, once it is there to be seen."""
        shown = lambda _: next((it for it in (within or self.driver).find_elements(By.CSS_SELECTOR, selector) if it.is_displayed()), None)
        return WebDriverWait(self.driver, 20).until(shown, f"no {selector}")

    def click(self, selector, within=None):
        element = self.find(selector, within)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def authorize(self, scheme, credential):
        self.click(".auth-wrapper .btn.authorize")
        self.find(".dialog-ux .auth-container")
        for container in self.driver.find_elements(By.CSS_SELECTOR, ".dialog-ux .auth-container"):
            if container.find_element(By.TAG_NAME, "h4").text.startswith(scheme + " "):
                container.find_element(By.TAG_NAME, "input").send_keys(credential)
                self.click(".btn.authorize", container)
                break
        else:
            sys.exit(f"no {scheme} to authorize with")
        self.click(".dialog-ux .btn-done")

    def try_it_out(self, tag, operation):
        """Status and body of the operation's answer, called with what the page proposes."""
        block = self.find(f"#operations-{tag}-{operation}")
        self.click(".opblock-summary-control", block)
        self.click(".try-out__btn", block)
        self.click(".btn.execute", block)
        answer = self.find(".live-responses-table .response", block)
        status = self.find(".response-col_status", answer).text.split()[0]
        return status, json.loads(self.find(".highlight-code code", answer).text)


def requested(driver):
    """The addresses that the page has asked for."""
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            yield message["params"]["request"]["url"]


def main():
    [binary] = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch, browser() as driver:
        with instance.running(binary, Path(scratch, "platform.log")) as (url, credentials), behind_a_stage(url) as staged:
            explorer = Explorer(driver, url + "/swagger")
            status, body = explorer.try_it_out("Agents", "list_agent_templates")
            assert status == "401" and body["success"] is False, (status, body)

            explorer = Explorer(driver, url + "/swagger")
            explorer.authorize("ProdgyToken", credentials["Prodgy"])
            status, body = explorer.try_it_out("Agents", "list_agent_templates")
            assert status == "200" and body["success"] is True, (status, body)
            assert "weather_check" in {template["slug"] for template in body["data"]}, body

            explorer = Explorer(driver, staged + "/api/v1/docs/")
            explorer.authorize("AgentPlatformKey", credentials["AgentPlatform"])
            status, body = explorer.try_it_out("Agents", "create_agent")
            assert status == "201" and body["data"]["name"] == "NYC Weather", (status, body)

            asked = list(requested(driver))
            assert staged + "/swagger/swagger-ui-bundle.js" in asked, asked
            elsewhere = [it for it in asked if not it.startswith((url + "/", staged + "/", "data:", "chrome:"))]
            assert not elsewhere, elsewhere
            # The refusal was asked for.
            complaints = [it["message"] for it in driver.get_log("browser") if it["level"] == "SEVERE" and " 401 " not in it["message"]]
            assert not complaints, complaints
    print("the explorer calls the platform with a token, at a root and below a stage")


main()
