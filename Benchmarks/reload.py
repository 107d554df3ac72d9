"""Measures the time of a reload with a large configuration, and its effect on latency.

One worker forwards small plain requests at a fixed, moderate rate to 10,000 backends. Meanwhile
`martlet reload` runs again and again, and each time some backends are replaced. The same load
without reloads shows the latency that the machine causes. Everything listens on loopback
addresses. A failed request fails the run.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
from backends import Backend, make_certificates, write  # noqa: E402
from peers import Martlet, Shape  # noqa: E402
from processes import (  # noqa: E402
    Failure,
    raise_descriptor_limit,
    run_pinned,
    run_script,
    two_cores,
)

BACKEND_COUNT = 10_000
REPLACED_COUNT = 300
RATE, CONNECTIONS = 2_000, 32
RELOAD_COUNT, PAUSE = 12, 0.5
QUANTILES = ("p50", "p99", "p99.9", "max")


class ReloadedMartlet(Martlet):
    """Martlet with an admin socket, and all backends except the last few or the first few."""

    checks = False

    def configuration(self, turn=0):
        config = super().configuration()
        pool = config["pools"][0]
        start = REPLACED_COUNT * (turn % 2)
        pool["backends"] = self.backends[start : start + BACKEND_COUNT]
        # With so many backends a connection is rarely reused, and file descriptors are limited.
        pool["keep-alive"] = {"idle": "1s"}
        pool["health"] = {} if self.checks else "off"
        config["admin"] = {"socket": os.path.join(self.folder, "admin.sock")}
        return config

    def reload(self, turn):
        """Seconds from the start of the command until it reports that the reload is done."""
        path = os.path.join(self.folder, "martlet.json")
        write(path, json.dumps(self.configuration(turn)))
        begin = time.monotonic()
        done = subprocess.run(
            [self.binary, "reload", "--config", path], capture_output=True, text=True, timeout=30
        )
        if done.returncode != 0:
            raise Failure(f"the reload failed: {done.stderr}{self.process.tail()}")
        return time.monotonic() - begin


def load(steady, peer, core, meanwhile=None):
    """Latency quantiles in microseconds under the load, while `meanwhile` runs."""
    seconds = int(RELOAD_COUNT * (PAUSE + 0.2)) + 2
    failures = []

    def carry_out():
        try:
            meanwhile()
        except Failure as failure:
            failures.append(failure)

    beside = threading.Thread(target=carry_out) if meanwhile else None
    if beside:
        beside.start()
    command = [
        steady,
        *("--port", str(peer.ports["plain"]), "--path", "/small", "--rate", str(RATE)),
        *("--seconds", str(seconds), "--connections", str(CONNECTIONS)),
    ]
    result = json.loads(run_pinned(command, core, seconds + 30))
    if beside:
        beside.join()
    if failures or result["errors"]:
        raise failures[0] if failures else Failure(f"{result}\n{peer.process.tail()}")
    return result["microseconds"]


def measure(steady, peer, core, rounds):
    """The seconds of every reload, and the latencies of each round without and with reloads."""
    reloads, latencies = [], {"without": [], "with reloads": []}
    turn = 0

    def reload_often():
        nonlocal turn
        time.sleep(1)
        for _ in range(RELOAD_COUNT):
            turn += 1
            reloads.append(peer.reload(turn))
            time.sleep(PAUSE)

    for _ in range(rounds):
        latencies["without"].append(load(steady, peer, core))
        latencies["with reloads"].append(load(steady, peer, core, reload_often))
    return reloads, latencies


def report(name, reloads, latencies):
    milliseconds = [1000 * seconds for seconds in reloads]
    print(
        f"\n{name}: {len(reloads)} reloads took {statistics.median(milliseconds):.0f} ms each"
        f" (at most {max(milliseconds):.0f}); latency in µs, the median of the rounds"
    )
    print(f"  {'':<14}" + "".join(f"{quantile:>10}" for quantile in QUANTILES))
    for kind, rounds in latencies.items():
        medians = (statistics.median(each[quantile] for each in rounds) for quantile in QUANTILES)
        print(f"  {kind:<14}" + "".join(f"{median:10,.0f}" for median in medians))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", metavar="PATH", required=True, help="the martlet binary")
    parser.add_argument("--steady", metavar="PATH", required=True, help="the steady binary")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    Martlet.binary = os.path.abspath(chosen.binary)
    raise_descriptor_limit()
    cores = two_cores()
    with tempfile.TemporaryDirectory(prefix="martlet-reload-") as folder:
        certificates = make_certificates(folder)
        shape = Shape(backends=BACKEND_COUNT + REPLACED_COUNT)
        backend = Backend(folder, {cores[1]}, host_count=1 + shape.backends // Backend.PORT_COUNT)
        try:
            for checks in (False, True):
                ReloadedMartlet.checks = checks
                peer = ReloadedMartlet(folder, set(cores), backend, certificates, shape)
                try:
                    results = measure(chosen.steady, peer, cores[1], chosen.rounds)
                finally:
                    peer.stop()
                report("with health checks" if checks else "without health checks", *results)
        finally:
            backend.stop()


if __name__ == "__main__":
    run_script("reload", main)
