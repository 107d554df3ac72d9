"""Checks that twice the bytes from a peer cost at most twice the instructions, for every scan.

Martlet runs under callgrind. For each scan of a peer's bytes (a walk, see walks.py) this sends one
kind of message in one size and in twice that size, and reads the instruction count of the worker
thread before and after. Instructions are counted and not timed, so this also works on a busy
machine. A walk with quadratic cost, such as one over all fields for each element of a list, takes
four times as many instructions. TLS is not tested, because OpenSSL does its scans.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
from backends import find  # noqa: E402
from instructions import strip  # noqa: E402
from processes import Failure, Process, free_ports, run_script  # noqa: E402
from walks import ANSWERS, WALKS, head  # noqa: E402

# Growing buffers make the second size a little more expensive.
ROOM = 2.2
PATIENCE = 60
LOGGED = ("target", "User-Agent", "Referer", "Host", "method")


class Backend:
    """Answers /backend/NAME/SIZE with the response of walks.py, and the rest with an empty 200."""

    def __init__(self):
        self.answers = {answer.name.replace(" ", "-"): answer for answer in ANSWERS}
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.server.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            rest = b""
            while True:
                while b"\r\n\r\n" not in rest:
                    if not (part := connection.recv(1 << 16)):
                        return
                    rest += part
                start, _, rest = rest.partition(b"\r\n\r\n")
                if b"\r\nTransfer-Encoding: chunked" in start:
                    while not re.search(rb"(^|\r\n)0\r\n(.+\r\n)*\r\n$", rest):
                        if not (part := connection.recv(1 << 16)):
                            return
                        rest += part
                    rest = b""
                connection.sendall(self.answer(start.split(b" ", 2)[1].decode("latin-1")))
        except OSError:
            pass

    def answer(self, target):
        match = re.match(r"/backend/([^/]+)/(\d+)$", target)
        if match and match[1] in self.answers:
            return self.answers[match[1]].make(int(match[2]))
        return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Counted:
    """Martlet under callgrind, which reports the instructions of a thread at any time."""

    def __init__(self, binary, folder, access, backend):
        self.ports = dict(zip(("plain", "tolerant", "admin"), free_ports(3)))
        self.folder = tempfile.mkdtemp(dir=folder)
        with open(os.path.join(self.folder, "config.json"), "w") as file:
            json.dump(self.configuration(access, backend), file)
        command = [
            *(find("valgrind"), "--tool=callgrind", f"--vgdb-prefix={self.folder}/vgdb"),
            *(f"--callgrind-out-file={self.folder}/callgrind.out", binary, "run"),
        ]
        self.process = Process("martlet", command, os.sched_getaffinity(0), self.folder)
        try:
            self.process.wait_for_port(self.ports["plain"], 120)
            # The worker starts a little later.
            self.ask("plain", head())
        except BaseException:
            self.process.stop()
            raise

    def configuration(self, access, backend):
        backends = [f"127.0.0.1:{backend.port}"]
        return {
            "listeners": [
                {"listen": f"127.0.0.1:{self.ports['plain']}"},
                {"listen": f"127.0.0.1:{self.ports['tolerant']}", "desync": "defensive"},
            ],
            "pools": [
                {"name": "app", "backends": backends, "health": "off"},
                {"name": "sticky", "backends": backends, "stickiness": "srv", "health": "off"},
            ],
            "routes": [
                {"path": "/local", "respond": {"body": "here"}},
                {"path": "/away", "redirect": {"host": "example.org"}},
                {"path": "/backend", "forward": "app"},
                {"path": "/sink", "forward": "app"},
                {"path": "/sticky", "forward": "sticky"},
                {
                    "path": "/edited", "forward": "app",
                    "request": {"remove": ["X-Gone"], "set": {"X-New": "1"}},
                },
                {"host": "*.example.com", "path": "/below", "respond": {"body": "here"}},
                {"host": "a.example.org", "path": "/there", "respond": {"body": "here"}},
            ],
            "trusted-proxies": ["127.0.0.0/8", "::1"],
            "limits": {
                "head-size": "64KiB", "target-size": "64KiB", "field-count": 1000,
                "chunk-extensions": "1MiB",
            },
            "log": {"access": access, "target": "access.log", "redact-query": ["token"]},
            "admin": {"listen": f"127.0.0.1:{self.ports['admin']}"},
            "workers": 1,
        }

    def instructions(self, listener):
        """The instructions of the worker thread until now."""
        begin = "startAdmin" if listener == "admin" else "WorkerStart"
        command = [
            *(find("vgdb"), f"--vgdb-prefix={self.folder}/vgdb"),
            *(f"--pid={self.process.child.pid}", "status", "internal"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        said = done.stdout
        for thread in re.findall(rf"^function-(\d+)-\d+: .*{begin}", said, re.MULTILINE):
            return int(re.search(rf"^events-{thread}: (\d+)$", said, re.MULTILINE)[1])
        raise Failure(f"there is no thread of {begin}:\n{said}")

    def ask(self, listener, request):
        """Sends it; returns the status of the response, or of the last one if there are several."""
        answer = b""
        try:
            address = ("127.0.0.1", self.ports[listener])
            with socket.create_connection(address, PATIENCE) as connection:
                connection.sendall(request)
                while part := connection.recv(1 << 20):
                    answer += part
        except OSError as error:
            raise Failure(f"{request[:40]}: {error}") from None
        statuses = re.findall(rb"^HTTP/1\.1 ([2-5]\d\d) ", answer, re.MULTILINE)
        return int(statuses[-1]) if statuses else 0

    def cost(self, listener, request, status, name):
        """The instructions of the second of two messages, when all memory is already allocated."""
        counts = []
        for _ in range(2):
            if (found := self.ask(listener, request)) != status:
                raise Failure(f"{name}: {found} instead of {status}")
            counts.append(self.instructions(listener))
        return counts[1] - counts[0]


def requests(access):
    """The messages: name, listener, expected status, and the bytes for each size."""
    for walk in WALKS:
        # With another log format, only walks over logged data are different.
        if access == "json" or walk.name.startswith(LOGGED):
            yield walk.name, walk.listener, walk.status, walk.make, walk.size
    if access != "json":
        return
    for answer in ANSWERS:
        name = answer.name.replace(" ", "-")

        def ask(size, name=name):
            return head(target=f"/backend/{name}/{size}")

        yield answer.name, "plain", answer.status, ask, answer.size


def count(martlet, access, only):
    """Prints a line per walk; returns those that cost more than twice for twice the size."""
    found = []
    for name, listener, status, make, size in requests(access):
        if only and only not in name:
            continue
        try:
            one = martlet.cost(listener, make(size), status, name)
            two = martlet.cost(listener, make(2 * size), status, name)
        except Failure as failure:
            found.append(f"{failure}")
            continue
        print(f"{two / one:5.2f} {one:12,} {two:12,}  {name}", flush=True)
        if two > ROOM * one:
            found.append(f"{name}: {one:,} instructions, and {two:,} for twice the size")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", metavar="PATH", required=True, help="the martlet binary")
    parser.add_argument("--only", metavar="TEXT", help="only walks with this in their name")
    parser.add_argument("--access", default="json", help="format of the access log (json)")
    options = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="martlet-doubling-") as folder:
        binary = strip(options.binary, folder)
        martlet = Counted(binary, folder, options.access, Backend())
        try:
            found = count(martlet, options.access, options.only)
        finally:
            martlet.process.stop()
    if found:
        raise Failure("; ".join(found))
    print(f"all walks are linear, after {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    run_script("doubling", main)
