"""Constant TLS load while an operator keeps changing things, and nothing may be felt of it.

A hundred reloads with other weights, strategies, routes and backends, twenty certificates renewed
as certbot does, and a backend drained and enabled fifty times; meanwhile WebSockets stay open and
talk. All backends are well throughout, so every request must be answered, every message arrive,
and every counter only grow. chaos.py is about backends that fail.
"""

import argparse
import asyncio
import base64
import collections
import itertools
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
from backend import body_of  # noqa: E402
from chaos import BackendProcess, free_port, make_certificates  # noqa: E402
from client import PATIENCE, Faults, Load  # noqa: E402
from frames import BINARY, CLOSE, accept_of, frame, read_frame  # noqa: E402
from proxies import Failure, Martlet, is_alive  # noqa: E402

BACKENDS, TUNNELS = 3, 6
MESSAGE_SIZES = [1, 125, 126, 5000, 70_000]
GROWING = ("_total", "_bucket", "_count", "_sum")


class Changing(Martlet):
    """Martlet with a configuration whose weights, routes and backends go through many variants."""

    def configuration(self):
        whole = json.loads(super().configuration())
        turn = self.variant
        # The last backend is there in every other variant.
        ports = self.backends[: BACKENDS - turn % 2]
        pool = whole["pools"][0]
        pool["name"] = "app"
        pool["backends"] = [
            {"address": f"127.0.0.1:{port}", "weight": 1 + (turn + index) % 5}
            for index, port in enumerate(ports)
        ]
        pool["strategy"] = ["weighted-round-robin", "least-connections", "random"][turn // 2 % 3]
        whole["routes"] = [{"forward": "app"}, {"path": f"/fixed/{turn}", "respond": {}}]
        if turn % 3 == 0:
            edit = {"set": {"X-Variant": str(turn)}}
            whole["routes"].append({"path": "/item", "forward": "app", "response": edit})
        whole["admin"] = {"socket": "admin.sock"}
        return json.dumps(whole)

    async def ask(self, method, path, body=""):
        """The body of an answer of the admin interface, which must be a good one."""
        reader, writer = await asyncio.open_unix_connection(
            os.path.join(self.folder, "admin.sock"), limit=1 << 24
        )
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        head, _, text = (await asyncio.wait_for(reader.read(), PATIENCE)).decode().partition(
            "\r\n\r\n"
        )
        writer.close()
        if not head.startswith("HTTP/1.1 2"):
            raise Failure(f"{method} {path}: {head.splitlines()[:1]} {text}")
        return text


class Certificates:
    """One pair after the other behind the same two links, as certbot leaves them."""

    def __init__(self, folder, count):
        _, _, self.authority = make_certificates(folder)
        self.folder, self.count, self.current = folder, count, 0
        self.chain, self.key = (os.path.join(folder, f"{part}.pem") for part in ("chain", "key"))
        with open(os.path.join(folder, "names"), "w") as file:
            file.write("subjectAltName = DNS:localhost, IP:127.0.0.1\n")
        for number in range(count + 1):
            self.make(number)
        self.link()

    def make(self, number):
        authority = [os.path.join(self.folder, "certs", name) for name in ("ca.crt", "ca.key")]
        key, request, chain = f"key{number}.pem", f"request{number}", f"chain{number}.pem"
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        sign = ["-CA", authority[0], "-CAkey", authority[1], "-set_serial", str(1000 + number)]
        for command in (
            ["req", "-new", *curve, "-keyout", key, "-out", request, "-subj", "/CN=localhost"],
            ["x509", "-req", "-in", request, *sign, "-days", "30", "-extfile", "names"]
            + ["-out", chain],
        ):
            subprocess.run(["openssl", *command], cwd=self.folder, check=True, capture_output=True)
        os.chmod(os.path.join(self.folder, key), 0o600)

    def link(self):
        for part in ("chain", "key"):
            fresh = os.path.join(self.folder, "fresh-link")
            os.symlink(f"{part}{self.current}.pem", fresh)
            os.rename(fresh, os.path.join(self.folder, f"{part}.pem"))

    def renew(self):
        self.current += 1
        self.link()

    def is_served(self, serial):
        return serial == f"{1000 + self.current:X}".zfill(4)


class Tunnel:
    """One WebSocket, open over the whole run."""

    numbers = itertools.count(1_000_000, 2)

    def __init__(self):
        self.answered = 0

    async def open(self, port, context):
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="localhost"
        )
        key = base64.b64encode(os.urandom(16)).decode()
        self.writer.write(
            "GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        if not head.startswith("HTTP/1.1 101 ") or accept_of(key) not in head:
            raise Failure(f"no WebSocket: {head.splitlines()[0]}")

    async def talk(self, run):
        """Until the run ends; the end is one that both sides agree to."""
        for size in itertools.cycle(MESSAGE_SIZES):
            number = next(self.numbers)
            message = f"{number} ".encode() + body_of(number, size)
            self.writer.write(frame(BINARY, message, masked=True))
            if await asyncio.wait_for(read_frame(self.reader), PATIENCE) != (
                BINARY,
                body_of(number + 1, size),
            ):
                raise Failure(f"message {number} was answered wrongly")
            self.answered += 1
            if run.load.ending:
                break
            await asyncio.sleep(0.01)
        self.writer.write(frame(CLOSE, b"", masked=True))
        kind, _ = await asyncio.wait_for(read_frame(self.reader), PATIENCE)
        if kind != CLOSE:
            raise Failure("a WebSocket didn't end as agreed")
        self.writer.close()


class Run:
    def __init__(self, options, martlet, backends, certificates, load):
        self.options, self.martlet, self.backends = options, martlet, backends
        self.certificates, self.load = certificates, load
        self.counts = collections.Counter()
        # A reload between the two links of a pair would rightly be refused.
        self.pair = asyncio.Lock()
        self.seen = {}

    async def go(self):
        tunnels = [Tunnel() for _ in range(TUNNELS)]
        for tunnel in tunnels:
            await tunnel.open(self.load.port, self.load.context)
        talks = (tunnel.talk(self) for tunnel in tunnels)
        await asyncio.gather(self.changes(), self.load.run(), self.scrapes(), *talks)
        self.counts["message"] = sum(tunnel.answered for tunnel in tunnels)

    async def changes(self):
        await asyncio.gather(
            self.repeat(self.options.reloads, self.reload),
            self.repeat(self.options.renewals, self.renewal),
            self.repeat(self.options.drains, self.drain),
        )
        self.load.ending = True

    async def repeat(self, count, change):
        """So many changes, spread over the time."""
        begin = time.monotonic()
        for turn in range(count):
            await change()
            self.counts[change.__name__] += 1
            due = begin + self.options.seconds * (turn + 1) / count
            await asyncio.sleep(max(0, due - time.monotonic()))

    async def reload(self):
        async with self.pair:
            self.martlet.configure()
            await self.martlet.ask("POST", "/v1/reload")

    async def renewal(self):
        async with self.pair:
            self.certificates.renew()
        deadline = time.monotonic() + PATIENCE
        while not self.certificates.is_served(await self.served_serial()):
            if time.monotonic() > deadline:
                raise Failure(f"certificate {self.certificates.current} is not served")
            await asyncio.sleep(0.05)

    async def served_serial(self):
        _, writer = await asyncio.open_connection(
            "127.0.0.1", self.load.port, ssl=self.load.context, server_hostname="localhost"
        )
        serial = writer.get_extra_info("peercert")["serialNumber"]
        writer.close()
        return serial

    async def drain(self):
        """The backend's own log of requests tells whether it is left alone."""
        backend = self.backends[0]
        pause = self.options.seconds / self.options.drains / 4
        await self.set_state(backend, "draining")
        await asyncio.sleep(pause)
        before = len(backend.delivered())
        await asyncio.sleep(pause)
        if len(backend.delivered()) > before:
            raise Failure("a drained backend got a request")
        await self.set_state(backend, "enabled")

    async def set_state(self, backend, state):
        path = f"/v1/pools/app/backends/127.0.0.1:{backend.port}"
        said = json.loads(await self.martlet.ask("PATCH", path, json.dumps({"state": state})))
        if said["state"] != state:
            raise Failure(f"a backend that was set to {state} is {said['state']}")

    async def scrapes(self):
        """Each series that may only grow does, also if it was away for a while."""
        while not self.load.ending:
            text = await self.martlet.ask("GET", "/metrics")
            for line in text.splitlines():
                series, _, value = line.rpartition(" ")
                if line[0] == "#" or not series.partition("{")[0].endswith(GROWING):
                    continue
                if float(value) < self.seen.get(series, 0):
                    raise Failure(f"{series} fell from {self.seen[series]} to {value}")
                self.seen[series] = float(value)
            self.counts["scrape"] += 1
            await asyncio.sleep(0.3)


def change(options, folder):
    """What was done, and what speaks against it."""
    certificates = Certificates(folder, options.renewals)
    backends = [BackendProcess(folder, index) for index in range(BACKENDS)]
    martlet = None
    try:
        ports, port = [backend.port for backend in backends], free_port()
        martlet = Changing(
            folder,
            port,
            ports,
            certificates.chain,
            certificates.key,
            binary=os.path.abspath(options.binary),
        )
        martlet.reload()
        load = Load(port, certificates.authority, Faults(), 1, options.clients, 0.02)
        run = Run(options, martlet, backends, certificates, load)
        asyncio.run(run.go())
        against = [] if martlet.stop() else ["it didn't end in good order"]
        against += load.complaints + martlet.complaints()
    finally:
        if martlet and is_alive(martlet.pid()):
            martlet.stop()
        for backend in backends:
            backend.stop()
    run.counts["request"] = load.tally["requests"]
    if load.tally["answered"] != load.tally["requests"]:
        against.append(f"answered: {load.tally['answered']}")
    for backend in backends:
        if ("SOCKET", "0") not in backend.delivered():
            against.append("a backend had no WebSocket")
    return run, against


def main():
    parser = argparse.ArgumentParser(prog="changes", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=18, help="over which they spread (18)")
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--renewals", type=int, default=20)
    parser.add_argument("--drains", type=int, default=50)
    parser.add_argument("--clients", type=int, default=8, help="at a time (8)")
    parser.add_argument("--binary", required=True, help="the martlet to run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="martlet-changes.") as folder:
        run, against = change(options, folder)
    print(", ".join(f"{count:,} {kind}s" for kind, count in sorted(run.counts.items())))
    print("changes: " + ("\n".join(against[:20]) or "nothing was felt of them"))
    return 1 if against else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failure, OSError, ssl.SSLError, asyncio.IncompleteReadError) as failure:
        print(f"changes: {failure!r}", file=sys.stderr)
        sys.exit(1)
