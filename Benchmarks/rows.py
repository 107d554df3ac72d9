"""The kinds of load: what is asked for, over how many connections, of peers in which shape.

A row takes samples; what they mean is told by bench.py. wrk generates the load, and h2load where
every connection must be new. A wrong answer, or any error under load, fails the run.
"""

import json
import os
import re
import time

from peers import CONNECTIONS_MAX, MIXED_PATHS, POST_PATH, Shape, find
from processes import Failure, core_seconds, run_pinned

FOLDER = os.path.dirname(os.path.abspath(__file__))


class Row:
    """So many connections that ask for one path again and again."""

    def __init__(
        self, name, path, connections, port="tls", post=0, script="load.lua", arguments=(), **shape
    ):
        self.name, self.path, self.connections = name, path, connections
        self.port, self.post, self.script, self.arguments = port, post, script, arguments
        self.shape = Shape(**shape)

    def url(self, peer):
        scheme = "http" if self.port == "plain" else "https"
        return f"{scheme}://127.0.0.1:{peer.ports[self.port]}{self.path}"

    def generate(self, peer, core, seconds):
        """Loads the peer; returns (requests answered well, seconds taken, p99 in ms, errors)."""
        # Many connections take a while to be made, and longer to get through their handshakes.
        seconds = max(seconds, self.connections // (1000 if self.port == "plain" else 100))
        command = [
            find("wrk"),
            *("-t", "1", "-c", str(self.connections), "-d", f"{seconds}s", "--timeout", "10s"),
            *("-s", os.path.join(FOLDER, self.script), self.url(peer), "--"),
            *(("POST", str(self.post)) if self.post else ("GET", "0")),
            *self.arguments,
        ]
        output = run_pinned(command, core, seconds + 30)
        line = next(line for line in output.splitlines() if line.startswith("RESULT "))
        result = json.loads(line.removeprefix("RESULT "))
        errors = {cause: count for cause, count in result["errors"].items() if count}
        return result["requests"], result["microseconds"] / 1e6, result["p99"] / 1000, errors

    def measure(self, peer, peer_core, core, seconds):
        """One sample; raises if a single request failed."""
        before, (busy_before, steal_before) = peer.process.nanoseconds(), core_seconds(peer_core)
        requests, elapsed, p99, errors = self.generate(peer, core, seconds)
        spent, (busy, steal) = peer.process.nanoseconds() - before, core_seconds(peer_core)
        if errors or requests == 0:
            raise Failure(
                f"{self.name} on {peer.name}: {requests} requests, errors {errors}\n"
                + peer.process.tail()
            )
        sample = {
            "cost": spent / 1000 / requests,
            "per_second": requests / elapsed,
            "busy": spent / 1e9 / elapsed,
            "p99": p99,
        }
        if self.shape.workers == 1:
            sample["others"] = max(0, busy - busy_before - spent / 1e9) / elapsed
            sample["steal"] = (steal - steal_before) / elapsed
        return sample


class HandshakeRow(Row):
    """A new connection with a full handshake for each request.

    h2load never resumes a session, but opens a given number of connections and ends, so that it is
    run again until the time is up.
    """

    pattern = re.compile(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout")

    def generate(self, peer, core, seconds):
        count = str(self.connections)
        command = [find("h2load"), "--h1", "-n", count, "-c", count, self.url(peer)]
        requests, errors, begin = 0, {}, time.monotonic()
        while time.monotonic() - begin < seconds and not errors:
            output = run_pinned(command, core, 30)
            succeeded, *failed = (int(text) for text in self.pattern.search(output).groups())
            requests += succeeded
            named = zip(("failed", "errored", "timeout"), failed)
            errors = {cause: number for cause, number in named if number}
        return requests, time.monotonic() - begin, None, errors


ROWS = {
    row.name: row
    for row in (
        Row("small-tls", "/small", 64),
        Row("1k-tls", "/1k", 64),
        Row("64k-tls", "/64k", 32),
        Row("1m-tls", "/1m", 8),
        Row("mixed-tls", "/small", 64, script="mixed.lua", arguments=MIXED_PATHS),
        Row("small-tls-512", "/small", 512),
        Row("post-64k-tls", POST_PATH, 32, post=64 * 1024),
        Row("post-1m-tls", POST_PATH, 8, post=1024 * 1024),
        Row("small-plain", "/small", 64, port="plain"),
        Row("small-plain-10", "/small", 10, port="plain"),
        Row("small-plain-512", "/small", 512, port="plain"),
        Row("small-plain-8000", "/small", CONNECTIONS_MAX, port="plain"),
        Row("small-plain-log", "/small", 64, port="plain", log=True),
        Row("pool-3", "/small", 64, port="plain", backends=3),
        Row("pool-100", "/small", 64, port="plain", backends=100),
        Row("pool-10000", "/small", 64, port="plain", backends=10_000),
        HandshakeRow("handshake", "/small", 64),
        HandshakeRow("handshake-rsa", "/small", 64, port="rsa"),
        # wrk offers the session that it got before.
        Row("handshake-resumed", "/small", 64, arguments=("close",)),
        Row("small-tls-2-workers", "/small", 64, workers=2),
        HandshakeRow("handshake-2-workers", "/small", 64, workers=2),
    )
}
# What is extra in the first costs more than the second.
EXTRAS = {"access log": ("small-plain-log", "small-plain")}
