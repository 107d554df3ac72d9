"""Processor time per request of Martlet and its peers, in one interleaved run.

Each peer has one worker on one core. The load generator (wrk, h2load, dnsperf) and the backend
(nginx, nghttpd, NSD) share another core. Every round measures each row on each peer that can do it.
The order of the peers changes from round to round, so that a disturbance affects all of them.
README.md in this folder explains the table. A wrong response, or any error under load, fails the
run.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
# For this process and the load generators; libssl reads it when it is loaded.
os.environ["OPENSSL_CONF"] = os.path.join(FOLDER, "openssl.cnf")
import http.client  # noqa: E402
import ssl  # noqa: E402

from backends import (  # noqa: E402
    CONNECTIONS_MAX,
    GRPC_PATH,
    PATHS,
    POST_ANSWER,
    POST_PATH,
    Backend,
    HTTP2Backend,
    SecureBackend,
    find,
    first_line,
    make_certificates,
)
from hold_idle import Holder  # noqa: E402
import latency  # noqa: E402
from names import NameServer  # noqa: E402
from peers import PEERS, Martlet, Shape  # noqa: E402
from processes import Failure, raise_descriptor_limit, run_pinned, two_cores  # noqa: E402
from rows import EXTRAS, GRPC_FIELDS, ROWS  # noqa: E402

ROUNDS_MAX, SECONDS_MAX = 50, 60
IDLE_WARM_UP, IDLE_COUNT = 200, 3000
IDLE_MAX = CONNECTIONS_MAX - IDLE_WARM_UP - 100
# Each with the argument `http2` of `Holder`.
IDLE_ROWS = {"idle-memory": False, "idle-memory-h2": True}
# The rows of a default run; the others are for a full comparison.
USUAL_ROWS = (
    *("small-tls", "64k-tls", "1m-tls", "post-64k-tls", "small-plain", "handshake"),
    *("h2-small", "grpc", "tcp-connections", "tcp-64k"),
)


def verify(peer, certificates):
    """Checks every response, and that connections stay open; returns TLS version and cipher."""
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


def verify_call(peer):
    """Checks that a gRPC call ends with its status in trailers."""
    command = [find("nghttp"), "-v", f"https://127.0.0.1:{peer.ports['tls']}{GRPC_PATH}"]
    for field in GRPC_FIELDS:
        command += ["-H", field]
    output = run_pinned(command, min(os.sched_getaffinity(0)), 10)
    if ") grpc-status: 0\n" not in output:
        raise Failure(f"{peer.name} does not forward a gRPC call:\n{output}")


def make_backend(upstream, folder, core, certificates, host_count):
    if upstream in ("tls", "h2-tls"):
        return SecureBackend(folder, core, certificates["ecdsa"])
    if upstream in ("h2", "grpc"):
        return HTTP2Backend(folder, core, upstream)
    if upstream == "udp":
        return NameServer(folder, core)
    return Backend(folder, core, host_count)


def measure_idle(start, count, core, http2=False):
    """Bytes per idle TLS connection, after one request each, of a peer that was just started."""
    peer = start()
    holder = Holder(peer.ports["tls"], path="/small", http2=http2)
    try:
        os.sched_setaffinity(0, {core})
        # The first connections cause one-time allocations, which are not counted.
        error = holder.open(IDLE_WARM_UP)
        before = peer.process.resident_bytes()
        error = error or holder.open(count)
        after = peer.process.resident_bytes()
        still_open = holder.still_open()
        if error or still_open != IDLE_WARM_UP + count:
            raise Failure(f"idle connections to {peer.name}: {still_open} are open, {error}")
        return (after - before) / count
    finally:
        holder.close()
        peer.stop()


def ratios(samples, base):
    """The ratios of two lists of samples, round by round."""
    return [sample["cost"] / other["cost"] for sample, other in zip(samples, base)]


def spread(values):
    text = f"{statistics.median(values):.2f}"
    return text + (f" ({min(values):.2f}-{max(values):.2f})" if len(values) > 1 else "")


def print_row(name, unit, values):
    """Prints the peers of one row: median, range, ratio to nginx within each round, and rate."""
    print(f"\n{name}")
    for peer, samples in values.items():
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
    """Prints one line per row: the ratio of Martlet to the best other peer.

    The best peer is the one with the lowest median. The lowest value of each round would mix peers.
    """
    if "martlet" not in peers or len(peers) == 1 or not samples:
        return
    print(f"\n{'martlet to the best peer':<26}{'ratio':<20}the best")
    for row, values in samples.items():
        others = [peer for peer in values if peer != "martlet"]
        if not others or "martlet" not in values:
            continue
        best = min(others, key=lambda peer: statistics.median(s["cost"] for s in values[peer]))
        ratio = spread(ratios(values["martlet"], values[best]))
        print(f"  {row:<24}{ratio:<20}{best}")
    for name, (row, without) in EXTRAS.items():
        if row in samples and without in samples:
            costs = (
                f"{peer} {extra_cost(samples[row][peer], samples[without][peer]):+.1f} µs"
                for peer in samples[row]
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
    known = [*ROWS, *IDLE_ROWS, *latency.FELT_ROWS]
    usual = [*USUAL_ROWS, "idle-memory"]
    parser.add_argument("--rows", help=f"from {', '.join(known)}; default {', '.join(usual)}")
    parser.add_argument(
        "--peers", help=f"from {', '.join(PEERS)}; default martlet, nginx and haproxy"
    )
    parser.add_argument("--tuned", action="store_true", help="add tuned nginx and HAProxy")
    parser.add_argument(
        "--full", action="store_true", help="run all rows and peers, about an hour"
    )
    parser.add_argument(
        "--idle", type=int, default=IDLE_COUNT, help=f"idle connections, 1 to {IDLE_MAX}"
    )
    parser.add_argument("--json", metavar="FILE", help="write every sample to this file")
    parser.add_argument("--binary", metavar="PATH", help="the martlet binary")
    parser.add_argument("--steady", metavar="PATH", help="the steady binary")
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
        parser.error("latency at a fixed rate needs --steady")
    chosen.explicit_peers = chosen.peers is not None
    some = ["martlet", "nginx", "haproxy"]
    chosen.peers = names(chosen.peers, PEERS, PEERS if chosen.full else some)
    if chosen.tuned:
        tuned = [f"{name}-tuned" for name in chosen.peers if f"{name}-tuned" in PEERS]
        chosen.peers = list(dict.fromkeys(chosen.peers + tuned))
    return chosen


def versions(chosen):
    """The version of each peer. Skips a missing Martlet if --peers was given."""
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
        # In memory if possible: nginx buffers request bodies in files, and a slow disk is not
        # what is measured here.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="martlet-bench-", dir=memory)
        )
        certificates = make_certificates(folder)
        most = max((row.shape.backends for row in loads), default=1)
        host_count = -(-most // Backend.PORT_COUNT)
        shapes = dict.fromkeys([Shape(), *(row.shape for row in loads)])
        backends = {}
        for upstream in dict.fromkeys(shape.upstream for shape in shapes):
            # The default shape is the first, so this one is there.
            if upstream == "tcp":
                backends[upstream] = backends["http/1.1"]
                continue
            backend = make_backend(upstream, folder, {load_core}, certificates, host_count)
            backends[upstream] = backend
            stack.callback(backend.stop)

        def start(name, shape=Shape()):
            cores = {peer_core} if shape.workers == 1 else {peer_core, load_core}
            return PEERS[name](folder, cores, backends[shape.upstream], certificates, shape)

        # With newly started peers, before load fills the allocators with memory to reuse.
        for row, http2 in IDLE_ROWS.items():
            for name in chosen.peers if row in samples else ():
                held = measure_idle(lambda: start(name), chosen.idle, load_core, http2)
                samples[row][name].append({"cost": held / 1024})

        peers = {}
        for shape in shapes:
            able = [name for name in chosen.peers if shape.upstream in PEERS[name].upstreams]
            peers[shape] = [start(name, shape) for name in able]
            for peer in peers[shape]:
                stack.callback(peer.stop)
                if shape.upstream == "grpc":
                    verify_call(peer)
        agreed = {
            (peer.name, shape.upstream): verify(peer, certificates)
            for shape in (Shape(), Shape(upstream="tcp"))
            for peer in peers.get(shape, ())
        }
        if len(set(agreed.values())) != 1:
            raise Failure(f"the peers don't agree on TLS, so they can't be compared: {agreed}")
        print(f"  all use {next(iter(agreed.values()))}")

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

    # Not every peer can do every row.
    for name, values in samples.items():
        samples[name] = values = {peer: taken for peer, taken in values.items() if taken}
        text = f"{name} ({chosen.idle})" if name in IDLE_ROWS else name
        print_row(text, "KiB" if name in IDLE_ROWS else "µs", values)
    for name, values in felt.items():
        latency.print_felt(name, values, rate)
    print_summary(samples, chosen.peers)
    loaded = [sample for row in samples.values() for peer in row.values() for sample in peer]
    loaded = [sample for sample in loaded if "others" in sample]
    if loaded:
        print("\nuse of the peer's core by", end=" ")
        for key, text in (("others", "other processes"), ("steal", "hypervisor")):
            shares = [sample[key] for sample in loaded]
            print(f"{text} {statistics.median(shares):.0%} (at most {max(shares):.0%})", end="; ")
    print(f"{time.monotonic() - begin:.0f} s in total")
    if chosen.json:
        with open(chosen.json, "w") as file:
            report = {"machine": model, "versions": found, "samples": samples}
            for name, values in felt.items():
                report[name] = {"rate": rate, "samples": values}
            json.dump(report, file, indent=2)


def main():
    chosen = parse(sys.argv[1:])

    # Signals raise an exception, so that all started processes are stopped.
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
