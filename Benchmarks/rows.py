"""The kinds of load: the request, the number of connections, and the shape of the peer.

A row takes samples, and bench.py evaluates them. wrk generates the load, or h2load for HTTP/2 and
if every connection must be new, and dnsperf for UDP. A wrong response, or any error under load,
fails the run.
"""

import json
import os
import re
import time

import names
from backends import (
    CIPHER_SUITE,
    CONNECTIONS_MAX,
    GRPC_MESSAGE,
    GRPC_PATH,
    MIXED_PATHS,
    POST_PATH,
    find,
    write,
)
from peers import Shape
from processes import Failure, core_seconds, run_pinned

FOLDER = os.path.dirname(os.path.abspath(__file__))
# In the output of h2load. A status from 400 on counts as failed.
OUTCOME = re.compile(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout")
GRPC_FIELDS = ("content-type: application/grpc", "te: trailers")


class Row:
    """A number of connections that request one path again and again."""

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
        """Loads the peer; returns (successful requests, seconds, p99 in ms, errors)."""
        # Many connections take some time to open, and longer for their handshakes.
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
        """Takes one sample; raises if any request failed."""
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

    h2load never resumes a session. It opens a given number of connections and exits, so it is
    started again until the time is over.
    """

    def generate(self, peer, core, seconds):
        count = str(self.connections)
        command = [find("h2load"), "--h1", "-n", count, "-c", count, self.url(peer)]
        requests, errors, begin = 0, {}, time.monotonic()
        while time.monotonic() - begin < seconds and not errors:
            output = run_pinned(command, core, 30)
            succeeded, *failed = (int(text) for text in OUTCOME.search(output).groups())
            requests += succeeded
            named = zip(("failed", "errored", "timeout"), failed)
            errors = {cause: number for cause, number in named if number}
        return requests, time.monotonic() - begin, None, errors


class HTTP2Row(Row):
    """Connections with HTTP/2 and TLS, with some streams at a time on each."""

    def __init__(self, name, path, connections, streams, body=b"", fields=(), **shape):
        super().__init__(name, path, connections, **shape)
        self.streams, self.body, self.fields = streams, body, fields

    def generate(self, peer, core, seconds):
        command = [
            *(find("h2load"), "-c", str(self.connections), "-m", str(self.streams)),
            *("-D", str(seconds)),
        ]
        for field in self.fields:
            command += ["-H", field]
        if self.body:
            path = os.path.join(peer.folder, self.name)
            with open(path, "wb") as file:
                file.write(self.body)
            command += ["-d", path]
        begin = time.monotonic()
        output = run_pinned([*command, self.url(peer)], core, seconds + 30)
        elapsed = time.monotonic() - begin
        for fact in ("Application protocol: h2\n", f"Cipher: {CIPHER_SUITE}\n"):
            if fact not in output:
                raise Failure(f"{self.name} on {peer.name}: not '{fact.strip()}':\n{output}")
        succeeded, *failed = (int(text) for text in OUTCOME.search(output).groups())
        named = zip(("failed", "errored", "timeout"), failed)
        errors = {cause: number for cause, number in named if number}
        return succeeded, elapsed, None, errors


class DatagramRow(Row):
    """Clients with a socket each, and some queries at a time; each query is a datagram.

    A query that gets no answer, or a wrong one, is an error.
    """

    COUNTS = re.compile(
        r"Queries completed:\s+(\d+) .*Queries lost:\s+(\d+) .*Response codes:\s+NOERROR (\d+) "
        r".*Run time \(s\):\s+([\d.]+)",
        re.DOTALL,
    )

    def __init__(self, name, clients, outstanding, **shape):
        super().__init__(name, "", clients, port="udp", upstream="udp", **shape)
        self.outstanding = outstanding

    def generate(self, peer, core, seconds):
        queries = write(os.path.join(peer.folder, "queries"), f"{names.NAME} A\n")
        output = run_pinned(
            [
                *(find("dnsperf"), "-s", "127.0.0.1", "-p", str(peer.ports["udp"])),
                *("-d", queries, "-l", str(seconds), "-c", str(self.connections)),
                *("-q", str(self.outstanding), "-T", "1", "-t", "2"),
            ],
            core,
            seconds + 30,
        )
        found = self.COUNTS.search(output)
        if found is None:
            raise Failure(f"{self.name} on {peer.name}: dnsperf says\n{output}")
        completed, lost, correct = (int(text) for text in found.groups()[:3])
        errors = {"lost": lost, "wrong": completed - correct}
        errors = {cause: count for cause, count in errors.items() if count}
        return completed, float(found[4]), None, errors


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
        # wrk resumes its last session.
        Row("handshake-resumed", "/small", 64, arguments=("close",)),
        Row("small-tls-2-workers", "/small", 64, workers=2),
        HandshakeRow("handshake-2-workers", "/small", 64, workers=2),
        HTTP2Row("h2-small", "/small", 8, 8),
        HTTP2Row("h2-small-1", "/small", 1, 64),
        HTTP2Row("h2-64k", "/64k", 8, 4),
        HTTP2Row("h2-1m", "/1m", 4, 2),
        HTTP2Row("h2-post-64k", POST_PATH, 8, 4, body=b"m" * 64 * 1024),
        HTTP2Row("grpc", GRPC_PATH, 8, 8, GRPC_MESSAGE, GRPC_FIELDS, upstream="grpc"),
        HTTP2Row("h2-to-h2", "/small", 8, 8, upstream="h2"),
        HTTP2Row("h2-to-h2-tls", "/small", 8, 8, upstream="h2-tls"),
        Row("tls-to-tls", "/small", 64, upstream="tls"),
        # The peers forward connections and datagrams here, and don't read the requests.
        Row("tcp-connections", "/small", 64, port="plain", arguments=("close",), upstream="tcp"),
        Row("tcp-small", "/small", 64, port="plain", upstream="tcp"),
        Row("tcp-64k", "/64k", 32, port="plain", upstream="tcp"),
        Row("tcp-1m", "/1m", 8, port="plain", upstream="tcp"),
        Row("tcp-tls-small", "/small", 64, upstream="tcp"),
        Row("tcp-tls-64k", "/64k", 32, upstream="tcp"),
        HandshakeRow("tcp-tls-connections", "/small", 64, upstream="tcp"),
        DatagramRow("udp-small", 64, 64),
    )
}
# The extra cost of the first row compared with the second.
EXTRAS = {"access log": ("small-plain-log", "small-plain")}
