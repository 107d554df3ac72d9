"""Processor time per request of Martlet, nginx and HAProxy, in one interleaved run.

Each peer has one worker on one core; the load generator (wrk) and the backend (nginx) share
another. Every round measures each row on each peer, the order of the peers turning from round to
round, so that whatever the machine does meanwhile falls on all. README.md beside this file says
how to read the table. A wrong answer, or any error under load, fails the run.
"""

import argparse
import http.client
import json
import os
import platform
import re
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
from hold_idle import Holder  # noqa: E402
from peers import (  # noqa: E402
    CONNECTIONS_MAX,
    PATHS,
    PEERS,
    POST_ANSWER,
    POST_BYTE_COUNT,
    POST_PATH,
    Backend,
    Martlet,
    find,
    first_line,
)
from processes import (  # noqa: E402
    Failure,
    core_seconds,
    raise_descriptor_limit,
    run_pinned,
    two_cores,
)

ROUNDS_MAX, SECONDS_MAX = 50, 60
IDLE_WARM_UP, IDLE_COUNT = 200, 3000
IDLE_MAX = CONNECTIONS_MAX - IDLE_WARM_UP - 100


class Row:
    """One kind of load: so many connections that ask for one path again and again."""

    def __init__(self, name, path, connections, tls=True, post=False):
        self.name, self.path, self.connections = name, path, connections
        self.tls, self.post = tls, post

    def url(self, peer):
        scheme, port = ("https", peer.tls_port) if self.tls else ("http", peer.plain_port)
        return f"{scheme}://127.0.0.1:{port}{self.path}"

    def generate(self, peer, core, seconds):
        """Loads the peer; returns (requests answered well, seconds taken, p99 in ms, errors)."""
        command = [
            find("wrk"),
            *("-t", "1", "-c", str(self.connections), "-d", f"{seconds}s", "--timeout", "10s"),
            *("-s", os.path.join(FOLDER, "load.lua"), self.url(peer), "--"),
            *(("POST", str(POST_BYTE_COUNT)) if self.post else ("GET", "0")),
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
        return {
            "cost": spent / 1000 / requests,
            "per_second": requests / elapsed,
            "busy": spent / 1e9 / elapsed,
            "p99": p99,
            "others": max(0, busy - busy_before - spent / 1e9) / elapsed,
            "steal": (steal - steal_before) / elapsed,
        }


class HandshakeRow(Row):
    """A new connection with a full handshake for each request.

    wrk would resume its sessions. h2load never does, but opens a given number of connections and
    ends, so that it is run again until the time is up.
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
        Row("64k-tls", "/64k", 32),
        Row("1m-tls", "/1m", 8),
        Row("post-64k-tls", POST_PATH, 32, post=True),
        Row("small-plain", "/small", 64, tls=False),
        HandshakeRow("handshake", "/small", 64),
    )
}
IDLE_ROW = "idle-memory"


def make_certificate(folder):
    """An ECDSA P-256 certificate for 127.0.0.1 and localhost; HAProxy wants both in one file."""
    base = os.path.join(folder, "bench")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", f"{base}.key", "-out", f"{base}.crt"),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    with open(f"{base}.pem", "w") as pem:
        for end in ("crt", "key"):
            with open(f"{base}.{end}") as part:
                pem.write(part.read())
    return base


def verify(peer, certificate):
    """Checks every answer, and that a connection is kept open; returns what TLS agreed on."""
    context = ssl.create_default_context(cafile=f"{certificate}.crt")
    agreed = None
    for tls in (True, False):
        if tls:
            connection = http.client.HTTPSConnection(
                "127.0.0.1", peer.tls_port, timeout=10, context=context
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", peer.plain_port, timeout=10)
        connection.connect()
        socket = connection.sock
        agreed = f"{socket.version()} {socket.cipher()[0]}" if tls else agreed
        requests = [("GET", path, None, length) for path, length in PATHS.items()]
        requests.append(("POST", POST_PATH, b"m" * POST_BYTE_COUNT, len(POST_ANSWER)))
        for method, path, body, length in requests:
            connection.request(method, path, body)
            response = connection.getresponse()
            received = response.read()
            if response.status != 200 or len(received) != length:
                raise Failure(
                    f"{peer.name} answers {method} {path} with {response.status} and "
                    f"{len(received)} bytes instead of 200 and {length}\n{peer.process.tail()}"
                )
            if connection.sock is not socket:
                raise Failure(f"{peer.name} closed the connection after {method} {path}")
        connection.close()
    return agreed


def measure_idle(start, count, core):
    """Bytes that a peer fresh from its start holds per idle TLS connection after one request."""
    peer = start()
    holder = Holder(peer.tls_port, path="/small")
    try:
        os.sched_setaffinity(0, {core})
        # What is allocated once, for the first connections, is not a cost of the next ones.
        error = holder.open(IDLE_WARM_UP)
        before = peer.process.resident_bytes()
        error = error or holder.open(count)
        after = peer.process.resident_bytes()
        still_open = holder.still_open()
        if error or still_open != IDLE_WARM_UP + count:
            raise Failure(f"{IDLE_ROW} on {peer.name}: {still_open} are open, {error}")
        return (after - before) / count
    finally:
        holder.close()
        peer.stop()


def print_row(name, unit, rate_of, values, peers):
    """The peers of one row: median, range, and the ratio to nginx taken round by round."""
    print(f"\n{name}")
    for peer in peers:
        samples = values[peer]
        costs = [sample["cost"] for sample in samples]
        ratio = ""
        if "nginx" in values:
            ratios = [
                sample["cost"] / base["cost"] for sample, base in zip(samples, values["nginx"])
            ]
            ratio = f"{statistics.median(ratios):6.2f}"
            ratio += f" ({min(ratios):.2f}-{max(ratios):.2f})" if len(ratios) > 1 else ""
        print(
            f"  {peer:<14}{statistics.median(costs):9.1f} {unit}"
            f"  {f'{min(costs):.1f}-{max(costs):.1f}':<16}{ratio:<20}{rate_of(samples)}".rstrip()
        )


def rate(samples):
    per_second = statistics.median(sample["per_second"] for sample in samples)
    busy = statistics.median(sample["busy"] for sample in samples)
    text = f"{per_second:8,.0f}/s {busy:5.0%} busy"
    if samples[0]["p99"] is not None:
        text += f"  p99 {statistics.median(sample['p99'] for sample in samples):.1f} ms"
    return text


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__.split("\n\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help=f"1 to {ROUNDS_MAX}")
    parser.add_argument("--seconds", type=int, default=2, help=f"per sample, 1 to {SECONDS_MAX}")
    parser.add_argument("--rows", help=f"of {', '.join(ROWS)}, {IDLE_ROW}; all if left out")
    parser.add_argument(
        "--peers", help=f"of {', '.join(PEERS)}; martlet, nginx and haproxy if left out"
    )
    parser.add_argument("--tuned", action="store_true", help="add nginx and HAProxy tuned")
    parser.add_argument(
        "--idle", type=int, default=IDLE_COUNT, help=f"idle connections, 1 to {IDLE_MAX}"
    )
    parser.add_argument("--json", metavar="FILE", help="write every sample there")
    parser.add_argument("--binary", metavar="PATH", help="the martlet to measure")
    chosen = parser.parse_args(arguments)

    def names(text, known, default):
        picked = text.split(",") if text else list(default)
        for name in picked:
            if name not in known:
                parser.error(f"'{name}' is not one of {', '.join(known)}")
        return list(dict.fromkeys(picked))

    if not 1 <= chosen.rounds <= ROUNDS_MAX or not 1 <= chosen.seconds <= SECONDS_MAX:
        parser.error(f"--rounds is 1 to {ROUNDS_MAX}, --seconds 1 to {SECONDS_MAX}")
    if not 1 <= chosen.idle <= IDLE_MAX:
        parser.error(f"--idle is 1 to {IDLE_MAX}")
    chosen.rows = names(chosen.rows, [*ROWS, IDLE_ROW], [*ROWS, IDLE_ROW])
    chosen.explicit_peers = chosen.peers is not None
    chosen.peers = names(chosen.peers, PEERS, ["martlet", "nginx", "haproxy"])
    if chosen.tuned:
        tuned = [f"{name}-tuned" for name in chosen.peers if f"{name}-tuned" in PEERS]
        chosen.peers = list(dict.fromkeys(chosen.peers + tuned))
    return chosen


def versions(chosen):
    """Each peer's version; a missing Martlet is left out only if peers were named."""
    found = {}
    for name in list(chosen.peers):
        try:
            found[name] = PEERS[name].version()
        except Failure as failure:
            if name != "martlet" or not chosen.explicit_peers:
                raise
            print(f"bench: skipping martlet: {failure}", file=sys.stderr)
            chosen.peers.remove(name)
    if not chosen.peers:
        raise Failure("no peer is left to measure")
    return found


def run(chosen):
    begin = time.monotonic()
    Martlet.binary = chosen.binary and os.path.abspath(chosen.binary)
    found = versions(chosen)
    peer_core, load_core = two_cores()
    raise_descriptor_limit()
    with open("/proc/cpuinfo") as cpuinfo:
        model = next((line for line in cpuinfo if line.startswith("model name")), ": unknown")
    model = model.split(":")[1].strip()
    print(f"{model}, Linux {platform.release()}; peer on core {peer_core}, load on {load_core}")
    print(f"{first_line(find('wrk'), '-v').split(' Copyright')[0]}; {ssl.OPENSSL_VERSION}")
    for name, version in found.items():
        print(f"  {name:<14}{version}")

    samples = {row: {peer: [] for peer in chosen.peers} for row in chosen.rows}
    with ExitStack() as stack:
        # In memory where possible: nginx buffers request bodies in files, and a slow disk is not
        # what is measured here.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="martlet-bench-", dir=memory)
        )
        certificate = make_certificate(folder)
        backend = Backend(folder, load_core)
        stack.callback(backend.stop)

        def start(name):
            return PEERS[name](folder, peer_core, backend.port, certificate)

        # Each on a peer of its own, before load fills the allocators with memory to reuse.
        if IDLE_ROW in chosen.rows:
            for name in chosen.peers:
                held = measure_idle(lambda: start(name), chosen.idle, load_core)
                samples[IDLE_ROW][name].append({"cost": held / 1024})

        peers = {}
        for name in chosen.peers:
            peers[name] = start(name)
            stack.callback(peers[name].stop)
        agreed = {name: verify(peer, certificate) for name, peer in peers.items()}
        if len(set(agreed.values())) != 1:
            raise Failure(f"the peers don't agree on TLS, so they can't be compared: {agreed}")
        print(f"  all speak {next(iter(agreed.values()))}, ECDSA P-256")

        order = list(peers.values())
        for number in range(chosen.rounds):
            for name in chosen.rows:
                if name == IDLE_ROW:
                    continue
                for peer in order:
                    sample = ROWS[name].measure(peer, peer_core, load_core, chosen.seconds)
                    samples[name][peer.name].append(sample)
            order = order[1:] + order[:1]
            print(f"round {number + 1} of {chosen.rounds} done", file=sys.stderr)

    for name in chosen.rows:
        if name == IDLE_ROW:
            print_row(f"{name} ({chosen.idle})", "KiB", lambda _: "", samples[name], chosen.peers)
        else:
            print_row(name, "µs", rate, samples[name], chosen.peers)
    loaded = [sample for row in samples.values() for peer in row.values() for sample in peer]
    loaded = [sample for sample in loaded if "others" in sample]
    if loaded:
        print("\nthe peer's core, sample by sample:", end=" ")
        for key, text in (("others", "other processes"), ("steal", "hypervisor")):
            shares = [sample[key] for sample in loaded]
            print(f"{text} {statistics.median(shares):.0%} (at worst {max(shares):.0%})", end="; ")
    print(f"{time.monotonic() - begin:.0f} s in all")
    if chosen.json:
        with open(chosen.json, "w") as file:
            report = {"machine": model, "versions": found, "samples": samples}
            json.dump(report, file, indent=2)


def main():
    chosen = parse(sys.argv[1:])

    # A signal unwinds, so that what was started is ended.
    def interrupt(*_):
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        run(chosen)
    except Failure as failure:
        sys.exit(f"bench: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
