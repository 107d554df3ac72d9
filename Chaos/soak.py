"""Checks under moderate TLS load for a long time that memory and file descriptors don't grow.

The load and the backends are those of chaos.py, without faults. The configuration is reloaded every
ten seconds. Memory and descriptors are sampled and drawn as an SVG. They count as flat if the last
fifth of the time is not above the first fifth after the warm-up.
"""

import argparse
import asyncio
import datetime
import json
import os
import statistics
import sys
import tempfile
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
from chaos import BackendProcess, free_port, make_certificates  # noqa: E402
from client import Faults, Load  # noqa: E402
from comparison import SECONDS_MAX  # noqa: E402
from proxies import Failure, Martlet, is_alive  # noqa: E402

RELOAD_SECONDS = 10
WARM_UP_SHARE = 0.1
MEMORY_SLACK_KIB, DESCRIPTOR_SLACK = 4096, 8


async def soak(martlet, load, seconds, every):
    """Returns samples of (seconds, KiB, descriptors)."""
    samples, begin = [], time.monotonic()
    reloaded = begin
    task = asyncio.create_task(load.run())
    while (now := time.monotonic()) < begin + seconds:
        if task.done():
            task.result()
        descriptors, resident = martlet.measures()
        samples.append((round(now - begin, 1), resident, descriptors))
        if now - reloaded > RELOAD_SECONDS:
            martlet.reload()
            reloaded = now
        await asyncio.sleep(every)
    load.ending = True
    await task
    return samples


def change(samples, column):
    """The median of the first fifth after the warm-up, and of the last fifth."""
    values = [sample[column] for sample in samples[int(len(samples) * WARM_UP_SHARE) :]]
    fifth = max(1, len(values) // 5)
    return statistics.median(values[:fifth]), statistics.median(values[-fifth:])


def panel(samples, column, scale, title, top):
    """One curve in a box of 600 x 140; the axis starts at zero."""
    width, height, left = 600, 140, 60
    span = max(samples[-1][0], 1)
    most = max(sample[column] / scale for sample in samples) * 1.2 or 1
    points = " ".join(
        f"{left + width * at / span:.1f},{top + height * (1 - sample[column] / scale / most):.1f}"
        for sample in samples
        for at in [sample[0]]
    )
    text = 'font-family="sans-serif" font-size="11"'
    right, below = left + width, top + height + 14
    return f"""
  <text x="{left}" y="{top - 8}" {text}>{title}</text>
  <rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#bbb"/>
  <text x="{left - 6}" y="{top + 10}" text-anchor="end" {text}>{most:.0f}</text>
  <text x="{left - 6}" y="{top + height}" text-anchor="end" {text}>0</text>
  <polyline points="{points}" fill="none" stroke="#1a5fb4" stroke-width="1.2"/>
  <text x="{right}" y="{below}" text-anchor="end" {text}>{span / 60:.0f} min</text>
"""


def plot(samples):
    memory = panel(samples, 1, 1024, "resident memory, MiB", 30)
    descriptors = panel(samples, 2, 1, "open descriptors", 220)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="700" height="390" '
        'viewBox="0 0 700 390">\n  <rect width="700" height="390" fill="white"/>'
        + memory.rstrip()
        + descriptors.rstrip()
        + "\n</svg>\n"
    )


def main():
    parser = argparse.ArgumentParser(prog="soak", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=int, default=1800, help="of load (1800)")
    parser.add_argument("--clients", type=int, default=16, help="concurrent clients (16)")
    parser.add_argument("--every", type=float, default=5, help="seconds between samples (5)")
    parser.add_argument("--binary", required=True, help="the martlet binary")
    parser.add_argument("--svg", help="write the plot to this file")
    parser.add_argument("--json", help="write the samples to this file")
    options = parser.parse_args()
    options.seconds = min(options.seconds, SECONDS_MAX)
    with tempfile.TemporaryDirectory(prefix="martlet-soak.") as folder:
        chain, key, authority = make_certificates(folder)
        backends = [BackendProcess(folder, index) for index in range(3)]
        martlet = None
        try:
            port = free_port()
            ports = [backend.port for backend in backends]
            martlet = Martlet(
                folder, port, ports, chain, key, binary=os.path.abspath(options.binary)
            )
            time.sleep(1)
            load = Load(port, authority, Faults(), 1, options.clients, 0.03)
            samples = asyncio.run(soak(martlet, load, options.seconds, options.every))
            in_good_order = martlet.stop()
            complaints = load.complaints + martlet.complaints()
        finally:
            if martlet and is_alive(martlet.pid()):
                martlet.stop()
            for backend in backends:
                backend.stop()
    if options.svg:
        with open(options.svg, "w") as file:
            file.write(plot(samples))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(samples, file)
    memory, descriptors = change(samples, 1), change(samples, 2)
    requests = load.tally["requests"]
    print(f"{datetime.date.today()}: {requests:,} requests in {options.seconds} s")
    print("memory {:.1f} -> {:.1f} MiB".format(*(value / 1024 for value in memory)))
    print("descriptors {:.0f} -> {:.0f}".format(*descriptors))
    is_flat = (
        memory[1] <= memory[0] + MEMORY_SLACK_KIB
        and descriptors[1] <= descriptors[0] + DESCRIPTOR_SLACK
    )
    for line in complaints[:20]:
        print(line)
    if load.tally["answered"] != requests:
        print(f"{requests - load.tally['answered']} requests were not answered")
        in_good_order = False
    print("flat" if is_flat else "NOT FLAT")
    return 0 if is_flat and in_good_order and not complaints else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"soak: {failure}", file=sys.stderr)
        sys.exit(1)
