#!/usr/bin/env python3
"""Controls a real Chromium over its debugging pipe, for the tests of the dashboard.

Reads commands from the standard input, one JSON list per line, and answers each with a line of
JSON:
  ["open", URL]  ["eval", EXPRESSION]  ["until", EXPRESSION, SECONDS]  ["shot", FILE, WIDTH, HEIGHT,
  "light" or "dark"]  ["errors"]
It doesn't depend on the content of the page.
"""
import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import time


def description(exception):
    return exception.get("exception", {}).get("description", exception.get("text", "?"))


class Browser:
    def __init__(self, profile):
        to_browser, from_us = os.pipe()
        to_us, from_browser = os.pipe()

        def place():
            # Chromium reads from descriptor 3 and writes to 4.
            os.dup2(to_browser, 10)
            os.dup2(from_browser, 11)
            os.dup2(10, 3)
            os.dup2(11, 4)

        self.process = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe",
             f"--user-data-dir={profile}"],
            preexec_fn=place, close_fds=False, start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.out, self.into = from_us, to_us
        self.buffer, self.number, self.errors, self.session = b"", 0, [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def read(self):
        while b"\0" not in self.buffer:
            piece = os.read(self.into, 1 << 20)
            if not piece:
                raise RuntimeError("the browser has ended")
            self.buffer += piece
        text, self.buffer = self.buffer.split(b"\0", 1)
        message = json.loads(text)
        method, found = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(description(found["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and found["type"] == "error":
            self.errors.append(str(found["args"]))
        elif method == "Log.entryAdded" and found["entry"]["level"] == "error":
            self.errors.append(found["entry"]["text"] + " " + found["entry"].get("url", ""))
        return message

    def evaluate(self, expression):
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(description(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def until(self, expression, seconds):
        end = time.monotonic() + seconds
        while True:
            value = self.evaluate(expression)
            if value or time.monotonic() > end:
                return value
            time.sleep(0.05)

    def shot(self, file, width, height, scheme):
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
            mobile=width < 600)
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}])
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": width, "height": size["height"], "scale": 1}
        picture = self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        with open(file, "wb") as output:
            output.write(base64.b64decode(picture["data"]))
        return [size["width"], size["height"]]


def main():
    # Chromium's processes may still write files while they end; the system removes those later.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(profile)
        try:
            for line in sys.stdin:
                name, *arguments = json.loads(line)
                try:
                    if name == "open":
                        result = browser.call("Page.navigate", url=arguments[0]).get("errorText")
                    elif name == "eval":
                        result = browser.evaluate(*arguments)
                    elif name == "until":
                        result = browser.until(*arguments)
                    elif name == "shot":
                        result = browser.shot(*arguments)
                    else:
                        # The next answer also reads pending messages.
                        browser.evaluate("1")
                        result = browser.errors
                    print(json.dumps({"result": result}), flush=True)
                except RuntimeError as error:
                    print(json.dumps({"error": str(error)}), flush=True)
        finally:
            os.killpg(browser.process.pid, signal.SIGKILL)
            browser.process.wait()


main()
