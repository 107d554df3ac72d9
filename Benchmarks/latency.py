"""What a user feels: latency where nobody is busy, and beside bulk downloads; how soon a large
answer begins.

Requests fall due at a constant rate, whatever the peer does, and their time counts from then
(Steady/ beside this file): a peer that stalls is charged with all who had to wait, not with the few
whose turn it was. The first bytes are timed from Python, one request after another.
"""

import http.client
import json
import ssl
import statistics
import threading
import time

from processes import Failure, run_pinned
from rows import ROWS, Row

# Half of what the best peer reaches.
LATENCY_ROW = "latency"
# Few small requests, while clients download large answers as fast as they can.
FAIRNESS_ROW = "fairness"
# An answer of 1 MiB by TLS, on a connection that has been used before.
FIRST_BYTE_ROW = "first-byte"
FELT_ROWS = (LATENCY_ROW, FAIRNESS_ROW, FIRST_BYTE_ROW)
CONNECTIONS = 64
SATURATED = ROWS["small-plain"]
FAIR_RATE, FAIR_CONNECTIONS = 1_000, 16
DOWNLOADS = Row("downloads", "/1m", 4)
# Behind which nothing is left of the connection's slow start.
ANSWER_COUNT, WARM_UP_COUNT = 300, 20


def half_saturation(peers, peer_core, core, seconds):
    """Half the rate of the fastest peer that isn't Martlet, or of Martlet alone."""
    others = [peer for peer in peers if peer.name != "martlet"] or peers
    samples = [SATURATED.measure(peer, peer_core, core, seconds) for peer in others]
    return int(max(sample["per_second"] for sample in samples) / 2)


def measure(row, binary, peer, core, rate, seconds):
    """One sample: quantiles in microseconds, and MiB a second of downloads beside."""
    if row == FIRST_BYTE_ROW:
        return first_bytes(peer)
    if row == FAIRNESS_ROW:
        return beside_downloads(binary, peer, core, seconds)
    return steady(row, binary, peer, core, rate, seconds, CONNECTIONS)


def steady(row, binary, peer, core, rate, seconds, connections):
    command = [
        binary,
        *("--port", str(peer.ports["plain"]), "--path", SATURATED.path, "--rate", str(rate)),
        *("--seconds", str(seconds), "--connections", str(connections)),
    ]
    result = json.loads(run_pinned(command, core, seconds + 30))
    if result["errors"] or not result["requests"]:
        raise Failure(f"{row} on {peer.name}: {result}\n{peer.process.tail()}")
    return {"microseconds": result["microseconds"]}


def beside_downloads(binary, peer, core, seconds):
    downloads = []

    def download():
        # A second more than the requests, which begin half a second later than their generator.
        downloads.append(DOWNLOADS.generate(peer, core, seconds + 1))

    thread = threading.Thread(target=download)
    thread.start()
    try:
        sample = steady(
            FAIRNESS_ROW, binary, peer, core, FAIR_RATE, seconds, FAIR_CONNECTIONS
        )
    finally:
        thread.join()
    if not downloads or downloads[0][3]:
        raise Failure(f"{FAIRNESS_ROW} on {peer.name}: the downloads failed: {downloads}")
    answers, elapsed, _, _ = downloads[0]
    return sample | {"MiB/s": answers / elapsed}


def first_bytes(peer):
    context = ssl.create_default_context(cafile=f"{peer.certificates['ecdsa']}.crt")
    connection = http.client.HTTPSConnection(
        "127.0.0.1", peer.ports["tls"], timeout=10, context=context
    )
    times = []
    for _ in range(WARM_UP_COUNT + ANSWER_COUNT):
        begin = time.monotonic()
        connection.request("GET", DOWNLOADS.path)
        response = connection.getresponse()
        response.read(1)
        times.append(1e6 * (time.monotonic() - begin))
        response.read()
    connection.close()
    cuts = statistics.quantiles(times[WARM_UP_COUNT:], n=100)
    return {"microseconds": {"p50": cuts[49], "p99": cuts[98], "max": max(times[WARM_UP_COUNT:])}}


def print_felt(row, samples, rate):
    """The median of the rounds, each quantile by itself."""
    first = next(iter(samples.values()))[0]
    quantiles = [name for name in ("p50", "p99", "p99.9", "max") if name in first["microseconds"]]
    title = {
        LATENCY_ROW: f"at {rate:,} requests a second",
        FAIRNESS_ROW: f"at {FAIR_RATE:,} requests a second beside downloads",
        FIRST_BYTE_ROW: "of an answer of 1 MiB",
    }
    print(f"\n{row} {title[row]}, in µs")
    print(f"  {'':<14}" + "".join(f"{quantile:>10}" for quantile in quantiles))
    for peer, values in samples.items():
        medians = (
            statistics.median(value["microseconds"][quantile] for value in values)
            for quantile in quantiles
        )
        bulk = ""
        if "MiB/s" in first:
            bulk = f"{statistics.median(value['MiB/s'] for value in values):10,.0f} MiB/s"
        print(f"  {peer:<14}" + "".join(f"{median:10,.0f}" for median in medians) + bulk)
