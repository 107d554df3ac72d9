"""Checks that a client that reads one stream slowly slows no other stream of its connection.

99 streams of one connection send small requests. In every second round, another stream of the same
connection downloads 1 MiB and stops reading after the first window. The latencies of the 99 are
compared, round by round.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
sys.path.append(os.path.join(FOLDER, "../Benchmarks"))
import backends  # noqa: E402
from chaos import free_port, make_certificates  # noqa: E402
from http2_client import Client  # noqa: E402
from proxies import Failure, Martlet, is_alive  # noqa: E402

STREAMS = 99
PAUSE = 0.08


class Edge(Martlet):
    def configuration(self):
        whole = json.loads(super().configuration())
        whole["limits"] = {"requests-per-connection": 100_000_000}
        return json.dumps(whole)


def percentile(values, share):
    return sorted(values)[int(len(values) * share)]


async def measure(client, seconds):
    """The latencies of small requests on 99 streams, in milliseconds."""
    end, latencies = time.monotonic() + seconds, []

    async def stream():
        await asyncio.sleep(random.uniform(0, PAUSE))
        while (begin := time.monotonic()) < end:
            response = await asyncio.wait_for(client.request("GET", "/small"), 30)
            if response.status != 200 or response.body != backends.SMALL:
                raise Failure(f"a wrong response: {response.status}")
            latencies.append((time.monotonic() - begin) * 1000)
            await asyncio.sleep(random.uniform(0, 2 * PAUSE))

    await asyncio.gather(*(stream() for _ in range(STREAMS)))
    return latencies


async def compare(port, authority, rounds, seconds):
    """The latencies without and with a slow stream, for each round."""
    client = await Client.open(port, authority)
    await measure(client, 1)
    pairs = []
    for number in range(rounds):
        pair = {}
        for stalls in (False, True) if number % 2 else (True, False):
            if stalls:
                client.stall("/1m")
                await asyncio.sleep(0.2)
            pair[stalls] = await measure(client, seconds)
            client.resume()
        pairs.append((pair[False], pair[True]))
    client.close()
    return pairs


def main():
    parser = argparse.ArgumentParser(prog="one-slow-stream", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3, help="of each half of a round (3)")
    parser.add_argument("--most", type=float, default=1.1, help="the ratio of the p99 (1.1)")
    parser.add_argument("--binary", required=True, help="the martlet binary")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="martlet-slow.") as folder:
        chain, key, authority = make_certificates(folder)
        backend = backends.Backend(folder, os.sched_getaffinity(0))
        martlet = None
        try:
            ports = [int(address.split(":")[1]) for address in backend.addresses[:1]]
            binary = os.path.abspath(options.binary)
            martlet = Edge(folder, free_port(), ports, chain, key, binary=binary, workers=1)
            time.sleep(1)
            pairs = asyncio.run(
                compare(martlet.port, authority, options.rounds, options.seconds)
            )
        finally:
            if martlet and is_alive(martlet.pid()):
                martlet.stop()
            backend.stop()
    print(f"{sum(len(a) + len(b) for a, b in pairs):,} requests, milliseconds:")
    for share in (0.5, 0.99):
        alone, beside = ([percentile(pair[i], share) for pair in pairs] for i in (0, 1))
        ratio = statistics.median(b / a for a, b in zip(alone, beside))
        print(
            f"p{share * 100:.0f} without {statistics.median(alone):.2f}, beside a slow stream "
            f"{statistics.median(beside):.2f}, ratio {ratio:.2f}"
        )
    return 0 if ratio <= options.most else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"one-slow-stream: {failure}", file=sys.stderr)
        sys.exit(1)
