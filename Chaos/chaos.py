"""Breaks the backends of a proxy under constant TLS load, and counts lost requests.

One of three backends at a time is killed, frozen, restarted, slow, or resets its connections in the
middle of a response. The proxy reloads a changed configuration every second, and its binary is
replaced twice. client.py judges every request. The backends log ids, which shows whether a POST was
executed twice. README.md in this folder explains the results.
"""

import asyncio
import collections
import os
import random
import signal
import socket
import subprocess
import sys
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
from client import Faults, Load  # noqa: E402
from comparison import compare, head_of, lost, row_of  # noqa: E402
from proxies import PROXIES, Failure, Martlet, is_alive  # noqa: E402

ROWS = [
    ("requests", "requests"),
    ("answered", "answered"),
    ("cut", "response cut off visibly"),
    ("failed", "POST that failed with its backend (502, 504)"),
    ("closed on reuse", "kept connection closed during a request"),
    ("refused", "**refused** at connect or handshake"),
    ("lost", "**lost**, although it could be answered"),
    ("wrong", "**wrong** response or body"),
    ("executed twice", "**POST executed twice**"),
]
MUST_BE_ZERO = ["closed on reuse", "refused", "lost", "wrong", "executed twice"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class BackendProcess:
    """One backend, which can be stopped and started again on the same port."""

    def __init__(self, folder, index, program="backend.py"):
        self.program = os.path.join(FOLDER, program)
        self.port, self.log = free_port(), os.path.join(folder, f"backend-{index}.ids")
        self.start()

    def start(self):
        self.child = subprocess.Popen(
            [sys.executable, self.program, str(self.port), self.log],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        if self.child.stdout.readline() != b"ready\n":
            raise Failure("a backend doesn't start")

    def tell(self, mode):
        self.child.stdin.write(mode.encode() + b"\n")
        self.child.stdin.flush()

    def stop(self, number=signal.SIGKILL):
        self.child.send_signal(number)
        self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()

    def delivered(self):
        with open(self.log) as file:
            return [tuple(line.split()) for line in file]


class Run:
    kinds = ["kill", "freeze", "restart", "slow", "reset"]

    def __init__(self, proxy, backends, load, faults, seconds, seed):
        self.proxy, self.backends, self.load, self.faults = proxy, backends, load, faults
        self.seconds = seconds
        self.random = random.Random(seed)
        self.counts = collections.Counter()

    async def go(self):
        begin = time.monotonic()
        tasks = [
            asyncio.create_task(work)
            for work in (self.load.run(), self.trouble(), self.reloads(), self.upgrades())
        ]
        while time.monotonic() < begin + self.seconds:
            await asyncio.sleep(0.1)
            for task in tasks:
                if task.done():
                    task.result()
        self.load.ending = True
        await asyncio.gather(*tasks)

    async def pause(self, seconds):
        """Waits; returns False if the run ended meanwhile."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.load.ending:
            await asyncio.sleep(0.05)
        return not self.load.ending

    async def trouble(self):
        kinds, going = [], await self.pause(2)
        while going:
            if not kinds:
                kinds = list(self.kinds)
                self.random.shuffle(kinds)
            kind, backend = kinds.pop(), self.random.choice(self.backends)
            self.counts[kind] += 1
            self.faults.begin(kind)
            if kind == "kill":
                await asyncio.to_thread(backend.stop)
                await self.pause(self.random.uniform(1, 3))
                await asyncio.to_thread(backend.start)
            elif kind == "restart":
                await asyncio.to_thread(backend.stop, signal.SIGTERM)
                await asyncio.to_thread(backend.start)
            elif kind == "freeze":
                backend.child.send_signal(signal.SIGSTOP)
                await self.pause(self.random.uniform(3, 6))
                backend.child.send_signal(signal.SIGCONT)
            else:
                backend.tell(kind)
                await self.pause(self.random.uniform(2, 4))
                backend.tell("well")
            self.faults.end()
            going = await self.pause(self.random.uniform(2.5, 4))

    async def reloads(self):
        while await self.pause(1):
            self.proxy.reload()
            self.counts["reload"] += 1

    async def upgrades(self):
        for _ in range(2):
            if await self.pause(self.seconds / 3):
                await asyncio.to_thread(self.proxy.upgrade)
                self.counts["upgrade"] += 1


def make_certificates(folder):
    """Returns chain, key, and the authority that clients trust."""
    place = os.path.join(folder, "certs")
    script = os.path.join(FOLDER, "../scripts/make-certs")
    subprocess.run([script, place], check=True, stdout=subprocess.DEVNULL)
    return (os.path.join(place, name) for name in ("server.crt", "server.key", "ca.crt"))


def warm_up(proxy, load):
    """Sends requests and reloads before the measurement, so that one-time allocations are done."""

    async def some():
        for turn in range(30):
            connection = await load.connect()
            if connection:
                await load.ask(connection)
                connection.close()
            if turn % 10 == 9:
                proxy.reload()
                await asyncio.sleep(0.5)

    asyncio.run(some())


def settled(proxy, wanted, seconds=20):
    """Descriptors and memory after connections were closed; returns early if there are few."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and proxy.measures()[0] > wanted:
        time.sleep(0.1)
    return proxy.measures()


def run_one(name, options, folder):
    chain, key, authority = make_certificates(folder)
    backends = [BackendProcess(folder, index) for index in range(3)]
    extra = {"binary": os.path.abspath(options.binary)} if PROXIES[name] is Martlet else {}
    proxy = None
    try:
        port = free_port()
        proxy = PROXIES[name](
            folder, port, [backend.port for backend in backends], chain, key, **extra
        )
        faults = Faults()
        load = Load(port, authority, faults, options.seed, options.clients, 0.02)
        time.sleep(1)
        warm_up(proxy, load)
        before = settled(proxy, 0, 6)
        run = Run(proxy, backends, load, faults, options.seconds, options.seed)
        asyncio.run(run.go())
        after = settled(proxy, before[0])
        in_good_order = proxy.stop()
        complaints = load.complaints + proxy.complaints()
    finally:
        if proxy and is_alive(proxy.pid()):
            proxy.stop()
        for backend in backends:
            if backend.child.poll() is None:
                backend.stop()
    posts = collections.Counter(
        number for backend in backends for method, number in backend.delivered() if method == "POST"
    )
    tally = {key: load.tally[key] for key, _ in ROWS}
    tally["executed twice"] = sum(count > 1 for count in posts.values())
    if not in_good_order:
        complaints.append("it didn't end in good order")
    return {
        "tally": tally,
        "counts": dict(run.counts),
        "descriptors": [before[0], after[0]],
        "memory": [before[1], after[1]],
        "slowest": round(load.slowest, 1),
        "complaints": complaints,
    }


def verdict(result):
    """Returns the list of failures."""
    against = lost(result, MUST_BE_ZERO)
    # Buffers are kept for reuse. A leak of one buffer per request would be far above this limit.
    if result["memory"][1] > result["memory"][0] + 24 * 1024:
        against.append("KiB of memory: {} before, {} after".format(*result["memory"]))
    return against


def table(results):
    lines = head_of(list(results), ROWS, results)
    for key, title in (("descriptors", "descriptors"), ("memory", "memory, MiB")):
        scale = 1024 if key == "memory" else 1
        cells = [" → ".join(str(v // scale) for v in result[key]) for result in results.values()]
        lines.append(row_of(f"{title}, before → after", cells))
    slowest = [f"{result['slowest']} s" for result in results.values()]
    return lines + [row_of("slowest response", slowest)]


def main():
    praise = "no request lost, executed twice or mixed up"
    return compare("chaos", __doc__, PROXIES, 16, run_one, table, verdict, praise)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"chaos: {failure}", file=sys.stderr)
        sys.exit(1)
