"""Latency at a rate that nobody is busy at: half of what the best peer reaches.

Requests fall due at a constant rate, whatever the peer does, and their time counts from then
(Steady/ beside this file): a peer that stalls is charged with all who had to wait, not with the few
whose turn it was.
"""

import json
import statistics

from processes import Failure, run_pinned
from rows import ROWS

LATENCY_ROW = "latency"
CONNECTIONS = 64
SATURATED = ROWS["small-plain"]


def half_saturation(peers, peer_core, core, seconds):
    """Half the rate of the fastest peer that isn't Martlet, or of Martlet alone."""
    others = [peer for peer in peers if peer.name != "martlet"] or peers
    samples = [SATURATED.measure(peer, peer_core, core, seconds) for peer in others]
    return int(max(sample["per_second"] for sample in samples) / 2)


def measure_latency(binary, peer, core, rate, seconds):
    """One sample: quantiles in microseconds."""
    command = [
        binary,
        *("--port", str(peer.ports["plain"]), "--path", SATURATED.path, "--rate", str(rate)),
        *("--seconds", str(seconds), "--connections", str(CONNECTIONS)),
    ]
    result = json.loads(run_pinned(command, core, seconds + 30))
    if result["errors"] or not result["requests"]:
        raise Failure(f"{LATENCY_ROW} on {peer.name}: {result}\n{peer.process.tail()}")
    return result


def print_latency(samples, rate):
    """The median of the rounds, each quantile by itself."""
    quantiles = ("p50", "p99", "p99.9", "max")
    print(f"\n{LATENCY_ROW} at {rate:,} requests a second, in µs")
    print(f"  {'':<14}" + "".join(f"{quantile:>10}" for quantile in quantiles))
    for peer, values in samples.items():
        medians = (
            statistics.median(value["microseconds"][quantile] for value in values)
            for quantile in quantiles
        )
        print(f"  {peer:<14}" + "".join(f"{median:10,.0f}" for median in medians))
