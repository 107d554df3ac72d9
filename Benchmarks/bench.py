"""Processor time per request of Martlet and its peers, in one interleaved run.

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
import signal
import ssl
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
from hold_idle import Holder  # noqa: E402
import latency  # noqa: E402
from peers import (  # noqa: E402
    CONNECTIONS_MAX,
    PATHS,
    PEERS,
    POST_ANSWER,
    POST_PATH,
    Backend,
    Martlet,
    Shape,
    find,
    first_line,
    make_certificates,
)
from processes import Failure, raise_descriptor_limit, two_cores  # noqa: E402
from rows import EXTRAS, ROWS  # noqa: E402

ROUNDS_MAX, SECONDS_MAX = 50, 60
IDLE_WARM_UP, IDLE_COUNT = 200, 3000
IDLE_MAX = CONNECTIONS_MAX - IDLE_WARM_UP - 100
IDLE_ROW = "idle-memory"
# What a plain run measures; the others are for a full comparison.
USUAL_ROWS = ("small-tls", "64k-tls", "1m-tls", "post-64k-tls", "small-plain", "handshake")


def verify(peer, certificates):
    """Checks every answer, and that a connection is kept open; returns what TLS agreed on."""
    agreed = []
    for port, kind in (("tls", "ecdsa"), ("rsa", "rsa"), ("plain", None)):
        if kind:
            context = ssl.create_default_context(cafile=f"{certificates[kind]}.crt")
            connection = http.client.HTTPSConnection(
                "127.0.0.1", peer.ports[port], timeout=10, context=context
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", peer.ports[port], timeout=10)
        connection.connect()
        socket = connection.sock
        if kind:
            agreed.append(f"{socket.version()} {socket.cipher()[0]}")
        requests = [("GET", path, None, length) for path, length in PATHS.items()]
        for length in (64 * 1024, 1024 * 1024):
            requests.append(("POST", POST_PATH, b"m" * length, len(POST_ANSWER)))
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
    return ", ".join(sorted(set(agreed)))


def measure_idle(start, count, core):
    """Bytes that a peer fresh from its start holds per idle TLS connection after one request."""
    peer = start()
    holder = Holder(peer.ports["tls"], path="/small")
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


def ratios(samples, base):
    """Sample by sample, of one round each."""
    return [sample["cost"] / other["cost"] for sample, other in zip(samples, base)]


def spread(values):
    text = f"{statistics.median(values):.2f}"
    return text + (f" ({min(values):.2f}-{max(values):.2f})" if len(values) > 1 else "")


def print_row(name, unit, values, peers):
    """The peers of one row: median, range, ratio to nginx within each round, and the rate."""
    print(f"\n{name}")
    for peer in peers:
        samples = values[peer]
        costs = [sample["cost"] for sample in samples]
        ratio = spread(ratios(samples, values["nginx"])) if "nginx" in values else ""
        print(
            f"  {peer:<14}{statistics.median(costs):9.1f} {unit}"
            f"  {f'{min(costs):.1f}-{max(costs):.1f}':<16}{ratio:<20}{rate(samples)}".rstrip()
        )


def rate(samples):
    if "per_second" not in samples[0]:
        return ""
    per_second = statistics.median(sample["per_second"] for sample in samples)
    busy = statistics.median(sample["busy"] for sample in samples)
    text = f"{per_second:8,.0f}/s {busy:5.0%} busy"
    if samples[0]["p99"] is not None:
        text += f"  p99 {statistics.median(sample['p99'] for sample in samples):.1f} ms"
    return text


def print_summary(samples, peers):
    """One line a row: what Martlet costs to the best of all others, which is the one that costs
    least in the median: the least of each round would be the luckiest, and no peer at all."""
    others = [peer for peer in peers if peer != "martlet"]
    if "martlet" not in peers or not others or not samples:
        return
    print(f"\n{'martlet to the best of them':<24}{'ratio':<20}the best")
    for row, values in samples.items():
        best = min(others, key=lambda peer: statistics.median(s["cost"] for s in values[peer]))
        ratio = spread(ratios(values["martlet"], values[best]))
        print(f"  {row:<22}{ratio:<20}{best}")
    for name, (row, without) in EXTRAS.items():
        if row in samples and without in samples:
            costs = (
                f"{peer} {extra_cost(samples[row][peer], samples[without][peer]):+.1f} µs"
                for peer in peers
            )
            print(f"  {name}: {', '.join(costs)}")


def extra_cost(samples, base):
    return statistics.median(
        sample["cost"] - other["cost"] for sample, other in zip(samples, base)
    )


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__.split("\n\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help=f"1 to {ROUNDS_MAX}")
    parser.add_argument("--seconds", type=int, default=2, help=f"per sample, 1 to {SECONDS_MAX}")
    known = [*ROWS, IDLE_ROW, *latency.FELT_ROWS]
    usual = [*USUAL_ROWS, IDLE_ROW]
    parser.add_argument("--rows", help=f"of {', '.join(known)}; if left out {', '.join(usual)}")
    parser.add_argument(
        "--peers", help=f"of {', '.join(PEERS)}; martlet, nginx and haproxy if left out"
    )
    parser.add_argument("--tuned", action="store_true", help="add nginx and HAProxy tuned")
    parser.add_argument(
        "--full", action="store_true", help="all rows and all peers, about an hour"
    )
    parser.add_argument(
        "--idle", type=int, default=IDLE_COUNT, help=f"idle connections, 1 to {IDLE_MAX}"
    )
    parser.add_argument("--json", metavar="FILE", help="write every sample there")
    parser.add_argument("--binary", metavar="PATH", help="the martlet to measure")
    parser.add_argument("--steady", metavar="PATH", help="the load generator at a fixed rate")
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
    chosen.rows = names(chosen.rows, known, known if chosen.full else usual)
    if not chosen.steady and {latency.LATENCY_ROW, latency.FAIRNESS_ROW} & set(chosen.rows):
        parser.error("latency at a fixed rate wants --steady")
    chosen.explicit_peers = chosen.peers is not None
    some = ["martlet", "nginx", "haproxy"]
    chosen.peers = names(chosen.peers, PEERS, PEERS if chosen.full else some)
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


def turned(peers, number):
    """The peers in the order of this round."""
    start = number % len(peers)
    return peers[start:] + peers[:start]


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

    loads = [ROWS[name] for name in chosen.rows if name in ROWS]
    samples = {name: {peer: [] for peer in chosen.peers} for name in chosen.rows}
    felt = {name: samples.pop(name) for name in latency.FELT_ROWS if name in samples}
    with ExitStack() as stack:
        # In memory where possible: nginx buffers request bodies in files, and a slow disk is not
        # what is measured here.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="martlet-bench-", dir=memory)
        )
        certificates = make_certificates(folder)
        most = max((row.shape.backends for row in loads), default=1)
        backend = Backend(folder, {load_core}, host_count=-(-most // Backend.PORT_COUNT))
        stack.callback(backend.stop)

        def start(name, shape=Shape()):
            cores = {peer_core} if shape.workers == 1 else {peer_core, load_core}
            return PEERS[name](folder, cores, backend, certificates, shape)

        # Each on a peer of its own, before load fills the allocators with memory to reuse.
        if IDLE_ROW in samples:
            for name in chosen.peers:
                held = measure_idle(lambda: start(name), chosen.idle, load_core)
                samples[IDLE_ROW][name].append({"cost": held / 1024})

        peers = {}
        for shape in dict.fromkeys([Shape(), *(row.shape for row in loads)]):
            peers[shape] = [start(name, shape) for name in chosen.peers]
            for peer in peers[shape]:
                stack.callback(peer.stop)
        agreed = {peer.name: verify(peer, certificates) for peer in peers[Shape()]}
        if len(set(agreed.values())) != 1:
            raise Failure(f"the peers don't agree on TLS, so they can't be compared: {agreed}")
        print(f"  all speak {next(iter(agreed.values()))}")

        rate = 0
        if latency.LATENCY_ROW in felt:
            rate = latency.half_saturation(peers[Shape()], peer_core, load_core, chosen.seconds)
        for number in range(chosen.rounds):
            for row in loads:
                for peer in turned(peers[row.shape], number):
                    sample = row.measure(peer, peer_core, load_core, chosen.seconds)
                    samples[row.name][peer.name].append(sample)
            for name, values in felt.items():
                for peer in turned(peers[Shape()], number):
                    values[peer.name].append(
                        latency.measure(
                            name, chosen.steady, peer, load_core, rate, chosen.seconds
                        )
                    )
            print(f"round {number + 1} of {chosen.rounds} done", file=sys.stderr)

    for name, values in samples.items():
        text = f"{name} ({chosen.idle})" if name == IDLE_ROW else name
        print_row(text, "KiB" if name == IDLE_ROW else "µs", values, chosen.peers)
    for name, values in felt.items():
        latency.print_felt(name, values, rate)
    print_summary(samples, chosen.peers)
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
            for name, values in felt.items():
                report[name] = {"rate": rate, "samples": values}
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
