"""Counts the instructions to select a backend, by strategy and size of the pool.

valgrind counts them in the real process, under a fixed load: the instructions of `Selection.next`
and of all functions that it calls. instructions.py in this folder counts complete requests.
"""

import argparse
import glob
import os
import re
import sys
import tempfile

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
from backends import Backend, make_certificates  # noqa: E402
from instructions import CountedMartlet, load, strip  # noqa: E402
from peers import Martlet, Shape  # noqa: E402
from processes import free_ports, raise_descriptor_limit, run_script, two_cores  # noqa: E402

STRATEGIES = (
    "round-robin",
    "weighted-round-robin",
    "least-connections",
    "random",
    "ip-hash",
    "maglev",
    "power-of-two",
    "least-time",
)
SIZES = (3, 16, 100, 10_000)
REQUESTS = 400
SELECTION = "$s9Balancing9SelectionV4next"


class CountedPools(CountedMartlet):
    """A listener and a pool per strategy, with the same backends."""

    def configuration(self):
        # Without the pools of instructions.py, which need a backend with TLS.
        config = super(CountedMartlet, self).configuration()
        self.ports |= zip(STRATEGIES, free_ports(len(STRATEGIES)))
        config["pools"] = [
            # Weights 1 to 3 for strategies that use weights.
            {
                "name": name,
                "strategy": name,
                "health": "off",
                "backends": [
                    {"address": address, "weight": 1 + index % 3 if name != "round-robin" else 1}
                    for index, address in enumerate(self.backends)
                ],
            }
            for name in STRATEGIES
        ]
        config["listeners"] += [
            {"listen": f"127.0.0.1:{self.ports[name]}", "name": name} for name in STRATEGIES
        ]
        config["routes"] = [{"listeners": [name], "forward": name} for name in STRATEGIES]
        config["routes"].append({"forward": STRATEGIES[0]})
        return config

    def dump(self):
        self.control("-d")


def read(path):
    """The instructions of one call of the selection, with all functions that it calls."""
    names, calls, total, is_next = {}, 0, 0, False
    with open(path) as file:
        for line in file:
            if is_next:
                total += int(line.split()[1])
                is_next = False
            elif match := re.match(r"(c?)fn=\((\d+)\)(?: (.*))?", line):
                called, number, name = match.groups()
                if name:
                    names[number] = name
                if called:
                    callee = names.get(number, "")
            elif line.startswith("calls=") and callee.startswith(SELECTION):
                calls += int(line.removeprefix("calls=").split()[0])
                is_next = True
    return total / calls if calls else None


def measure(size, folder, cores, backend, certificates):
    peer = CountedPools(folder, {cores[0]}, backend, certificates, Shape(backends=size))
    try:
        for name in STRATEGIES:
            load(peer.ports[name], cores[1], 10)
        peer.count("on")
        peer.dump()
        for name in STRATEGIES:
            load(peer.ports[name], cores[1], REQUESTS)
            peer.dump()
        peer.count("off")
    finally:
        peer.stop()
    # The first dump contains the counts before the load.
    dumps = sorted(glob.glob(f"{peer.counts}.*"), key=lambda path: int(path.rsplit(".", 1)[1]))
    return [read(path) for path in dumps[1 : 1 + len(STRATEGIES)]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", metavar="PATH", required=True, help="the martlet binary")
    binary = parser.parse_args().binary
    cores = two_cores()
    raise_descriptor_limit()
    print(f"{'backends':<10}" + "".join(f"{name:>22}" for name in STRATEGIES))
    with tempfile.TemporaryDirectory(prefix="martlet-picks-") as folder:
        Martlet.binary = strip(binary, folder)
        certificates = make_certificates(folder)
        backend = Backend(folder, {cores[1]}, host_count=SIZES[-1] // Backend.PORT_COUNT)
        try:
            for size in SIZES:
                counts = measure(size, folder, cores, backend, certificates)
                print(f"{size:<10,}" + "".join(f"{count:22,.0f}" for count in counts), flush=True)
        finally:
            backend.stop()


if __name__ == "__main__":
    run_script("picks", main)
