"""Instructions and allocations per request, counted by valgrind instead of timed.

A fixed load on one worker takes about the same number of instructions on every machine and on a
busy one too, so that a change which costs speed is seen where nothing can be measured. What was
counted last is pinned in LOADS; more than ROOM above it fails. Whoever makes Martlet faster, or has
a good reason to make it slower, pins the new count and says why in the commit. A request in steady
state allocates nothing: the few allocations counted are those of other threads.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
from peers import Backend, Martlet, Shape, find, make_certificates  # noqa: E402
from processes import Failure, run_pinned, run_script, two_cores  # noqa: E402

REQUESTS, CONNECTIONS = 3000, 8
ROOM = 1.05
ALLOCATIONS_MAX = 0.2
# GET of 13 bytes by plain HTTP, in user code alone: without and with the access log.
LOADS = {"small answer": (Shape(), 22_700), "with the access log": (Shape(log=True), 27_200)}


class CountedMartlet(Martlet):
    """Martlet under callgrind, which begins to count when it is told to."""

    start_seconds = 120

    def command(self):
        self.counts = os.path.join(self.folder, "callgrind.out")
        return [
            *(find("valgrind"), "--tool=callgrind", "--instr-atstart=no"),
            *(f"--callgrind-out-file={self.counts}", *super().command()),
        ]

    def control(self, *order):
        subprocess.run(
            [find("callgrind_control"), *order, str(self.process.child.pid)],
            check=True, capture_output=True, timeout=60,
        )

    def count(self, state):
        self.control("-i", state)

    def stop(self):
        # The counts are written at the end, which takes its time.
        self.process.child.terminate()
        self.process.child.wait(120)
        super().stop()


def load(port, core, requests):
    url = f"http://127.0.0.1:{port}/small"
    command = [find("h2load"), "--h1", "-n", str(requests), "-c", str(CONNECTIONS), url]
    output = run_pinned(command, core, 120)
    if f"{requests} succeeded" not in output:
        raise Failure(output)


def read(path):
    """All instructions in the file, and how often malloc was called."""
    names, callee, allocations, instructions = {}, None, 0, 0
    with open(path) as file:
        for line in file:
            if match := re.match(r"c?fn=\((\d+)\)(?: (.*))?", line):
                number, name = match.groups()
                if name:
                    names[number] = name
                if line.startswith("c"):
                    callee = names.get(number)
            elif line.startswith("calls=") and callee in ("malloc", "calloc", "posix_memalign"):
                allocations += int(line.removeprefix("calls=").split()[0])
            elif match := re.match(r"(?:summary|totals): (\d+)", line):
                instructions = max(instructions, int(match.group(1)))
    return instructions, allocations


def measure(shape, folder, cores, backend, certificates):
    peer = CountedMartlet(folder, {cores[0]}, backend, certificates, shape)
    try:
        # Buffers, connections and tables are made once.
        load(peer.ports["plain"], cores[1], 10 * CONNECTIONS)
        peer.count("on")
        load(peer.ports["plain"], cores[1], REQUESTS)
        peer.count("off")
    finally:
        peer.stop()
    instructions, allocations = read(peer.counts)
    return instructions / REQUESTS, allocations / REQUESTS


def strip(binary, folder):
    """The binary without debugging information, of which valgrind can't read what Swift writes."""
    path = os.path.join(folder, "martlet")
    subprocess.run([find("strip"), "-g", "-o", path, binary], check=True)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", metavar="PATH", required=True, help="the martlet to count")
    binary = parser.parse_args().binary
    cores = two_cores()
    problems = []
    with tempfile.TemporaryDirectory(prefix="martlet-count-") as folder:
        Martlet.binary = strip(binary, folder)
        certificates = make_certificates(folder)
        backend = Backend(folder, {cores[1]})
        try:
            for name, (shape, pinned) in LOADS.items():
                instructions, allocations = measure(
                    shape, folder, cores, backend, certificates
                )
                print(
                    f"{name}: {instructions:,.0f} instructions a request (pinned: {pinned:,}), "
                    f"{allocations:.2f} allocations"
                )
                if instructions > pinned * ROOM:
                    problems.append(f"{name} takes more instructions than are pinned")
                if allocations > ALLOCATIONS_MAX:
                    problems.append(f"{name} allocates")
        finally:
            backend.stop()
    if problems:
        raise Failure("; ".join(problems))


if __name__ == "__main__":
    run_script("instructions", main)
