#!/usr/bin/env python3
"""Takes the screenshots of the dashboard in docs/: all backends up, one down, all backends of a
pool down, and a phone.

    python3 Tests/EndToEndTests/Browser/screenshots.py [--binary FILE]

It runs Martlet with five small backends on loopback addresses and a load that rises and falls, and
stops backends in between. It takes three minutes. Compress the pictures with pngquant.
The default of --binary is .build/release/martlet. Look at the pictures before you commit them.
"""
import argparse
import http.client
import http.server
import json
import math
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
WEB = ["127.0.0.11", "127.0.0.12", "127.0.0.13"]
API = ["127.0.0.21", "127.0.0.22"]


class Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        draw = random.random()
        time.sleep(min(0.2, random.lognormvariate(-5.3, 0.7)))
        status = 500 if draw < 0.0003 else 404 if draw < 0.03 else 304 if draw < 0.05 else 200
        self.send_response(status)
        body = b"" if status == 304 else b"x" * random.randrange(500, 6000)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def serve(address, port):
    server = http.server.ThreadingHTTPServer((address, port), Backend)
    server.serve_forever()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def load(port, stop):
    """About 20 requests per second from one client, slowly rising and falling."""
    client = None
    while not stop.is_set():
        try:
            client = client or http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            client.request("GET", "/api/users" if random.random() < 0.15 else "/")
            client.getresponse().read()
        except (OSError, http.client.HTTPException):
            client = None
        time.sleep(random.uniform(0.02, 0.06) * (1.6 + math.sin(time.monotonic() / 25)))


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--binary", default=str(ROOT / ".build/release/martlet"))
    binary = os.path.abspath(options.parse_args().binary)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="martlet-screenshots-"))
    front, tls, admin, port = (free_port() for _ in range(4))
    processes = {}

    def start(address):
        processes[address] = subprocess.Popen(
            [sys.executable, __file__, "serve", address, str(port)])

    def stop(address):
        processes.pop(address).kill()

    subprocess.run([ROOT / "scripts/make-certs", folder / "certs"], check=True, capture_output=True)
    (folder / "token").write_text("a-token-for-screenshots\n")
    (folder / "config.json").write_text(json.dumps({
        "listeners": [
            {"name": "https", "listen": f"127.0.0.1:{tls}", "tls": {"certificates": [
                {"chain": "certs/server.crt", "key": "certs/server.key"}]}},
            {"name": "http", "listen": f"127.0.0.1:{front}"}],
        "pools": [
            {"name": "web", "backends": [f"{each}:{port}" for each in WEB],
             "health": {"interval": "1s", "fall": 2}},
            {"name": "api", "strategy": "least-connections",
             "backends": [f"{each}:{port}" for each in API], "health": {"interval": "1s"}}],
        "routes": [{"path": "/api", "forward": "api"}, {"forward": "web"}],
        "log": {"access": "off"},
        "admin": {"socket": "off", "listen": f"127.0.0.1:{admin}", "token-file": "token"}}))
    for address in WEB + API:
        start(address)
    time.sleep(1)
    martlet = subprocess.Popen([binary, "run", "--config", "config.json"], cwd=folder)
    ended = threading.Event()
    for _ in range(8):
        threading.Thread(target=load, args=(front, ended), daemon=True).start()
    browser = subprocess.Popen(
        [sys.executable, ROOT / "Tests/EndToEndTests/Browser/browser.py"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def browse(*command):
        browser.stdin.write(json.dumps(command) + "\n")
        browser.stdin.flush()
        answer = json.loads(browser.stdout.readline())
        if answer.get("error") or answer.get("result") is False:
            raise SystemExit(f"screenshots: {command[:2]}: {answer}")
        return answer.get("result")

    def shot(name, width, scheme):
        browse("shot", str(DOCS / f"dashboard-{name}.png"), width, 900, scheme)
        time.sleep(2)
        browse("shot", str(DOCS / f"dashboard-{name}.png"), width, 900, scheme)

    try:
        time.sleep(1)
        browse("open", f"http://127.0.0.1:{admin}/healthz")
        browse("eval", "sessionStorage.setItem('token', 'a-token-for-screenshots')")
        browse("open", f"http://127.0.0.1:{admin}/")
        time.sleep(50)
        stop(WEB[1])
        time.sleep(12)
        start(WEB[1])
        time.sleep(65)
        shot("light", 1280, "light")
        stop(WEB[1])
        time.sleep(15)
        shot("dark", 1280, "dark")
        shot("phone", 390, "light")
        for address in (WEB[0], WEB[2]):
            stop(address)
        browse("until", "document.title.startsWith('0 of 3 up')", 30)
        time.sleep(8)
        shot("down", 1280, "light")
        errors = browse("errors")
        if errors:
            raise SystemExit(f"screenshots: errors in the page: {errors}")
    finally:
        ended.set()
        browser.stdin.close()
        for process in [martlet, *processes.values()]:
            process.terminate()
    print(f"screenshots: written to {DOCS}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        main()
