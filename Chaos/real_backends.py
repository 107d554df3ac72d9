"""Real backends with HTTP/2 over TLS come and go under load, and requests are counted.

Two servers of one kind (servers.py) are restarted without loss, reloaded, and killed in turn. Many
requests share few connections, which the servers end with GOAWAY. client.py explains the verdicts;
a gRPC call is a POST. Only when a server was killed, or one restarts that cancels calls when it
stops, may a POST fail or a response break off.
"""

import argparse
import asyncio
import collections
import datetime
import itertools
import json
import os
import random
import sys
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
from chaos import free_port, make_certificates  # noqa: E402
from client import PATIENCE, Faults  # noqa: E402
from comparison import head_of, print_complaints, row_of, run_each  # noqa: E402
from http2_client import Broken, Client  # noqa: E402
from proxies import Failure, Martlet, is_alive  # noqa: E402
from servers import SERVERS  # noqa: E402

CONNECTIONS, STREAMS = 4, 8
PAUSE = 0.04
METHODS = ["GET"] * 3 + ["POST"]
GRPC = [("content-type", "application/grpc"), ("te", "trailers")]
ROWS = [
    ("requests", "requests"),
    ("answered", "answered"),
    ("again", "of them, sent to a backend more than once"),
    ("cut", "response cut off by a kill, visibly"),
    ("failed", "POST or call that failed with its backend"),
    ("lost", "**lost**, although it could be answered"),
    ("wrong", "**wrong** response"),
    ("twice", "**POST executed twice** (nginx and Node log it)"),
]


class HTTP2Martlet(Martlet):
    """Martlet with HTTP/2 to clients, and TLS on both sides."""

    authority, protocol = "", "h2"

    def configuration(self):
        whole = json.loads(super().configuration())
        whole["limits"] = {"requests-per-connection": 100_000_000}
        pool = whole["pools"][0]
        pool["protocol"] = self.protocol
        pool["backends"] = [f"https://{address}" for address in pool["backends"]]
        pool["tls"] = {"ca": self.authority, "server-name": "localhost"}
        return json.dumps(whole)


class Load:
    def __init__(self, port, authority, is_grpc, faults, seed):
        self.port, self.authority, self.is_grpc, self.faults = port, authority, is_grpc, faults
        self.random = random.Random(seed)
        self.numbers = itertools.count(1)
        self.tally, self.complaints = collections.Counter(), []
        self.ending = False

    async def run(self):
        clients = [await Client.open(self.port, self.authority) for _ in range(CONNECTIONS)]
        await asyncio.gather(*(self.stream(client) for client in clients for _ in range(STREAMS)))
        for client in clients:
            client.close()

    async def stream(self, client):
        while not self.ending:
            await self.ask(client)
            await asyncio.sleep(self.random.uniform(0, 2 * PAUSE))

    async def ask(self, client):
        number, method = next(self.numbers), self.random.choice(METHODS)
        path, fields, body = f"/item/{number}", [], b""
        if self.is_grpc:
            message = str(number).encode() * self.random.choice([1, 500])
            method, path, fields = "POST", "/echo.Echo/Unary", GRPC
            body = b"\0" + len(message).to_bytes(4, "big") + message
        elif method == "POST":
            body = b"m" * self.random.choice([10, 5000])
        self.tally["requests"] += 1
        begin, reason, begun = time.monotonic(), "", False
        try:
            response = await asyncio.wait_for(
                client.request(method, path, fields, body), PATIENCE
            )
        except Broken as broken:
            reason, begun = str(broken), broken.begun
        except asyncio.TimeoutError:
            reason = "no response"
        else:
            status = response.status
            if self.is_grpc:
                head, end = response.fields, response.trailers
                result = end.get("grpc-status", head.get("grpc-status"))
                reason = "" if result == "0" else f"gRPC status {result}, {head}"
            elif status != 200:
                reason = f"status {status}"
            if not reason and response.body != (body if self.is_grpc else path.encode()):
                return self.complain("wrong", f"{method} {path}: {response.body[:100]!r}")
        if not reason:
            self.tally["answered"] += 1
            return
        troubled = self.faults.during(begin, time.monotonic())
        if troubled and begun:
            self.tally["cut"] += 1
        elif troubled and method == "POST":
            self.tally["failed"] += 1
        else:
            self.complain("lost", f"{method} {path}: {reason} (fault: {troubled})")

    def complain(self, kind, text):
        self.tally[kind] += 1
        if len(self.complaints) < 100:
            self.complaints.append(f"{time.strftime('%H:%M:%S')} {kind}: {text}")


async def trouble(servers, load, seconds, counts):
    """One fault after another, with both servers well in between."""
    # In HTTP/1.1 a server may close a connection on which a request is on its way.
    is_clean = servers[0].ends_cleanly and HTTP2Martlet.protocol != "http/1.1"
    end, faults = time.monotonic() + seconds, []
    await asyncio.sleep(1)
    while time.monotonic() < end:
        if not faults:
            faults = ["restart", "reload", "kill"] if servers[0].reloads else ["restart", "kill"]
        kind, server = faults.pop(0), load.random.choice(servers)
        counts[kind] += 1
        loses = kind == "kill" or not is_clean
        if loses:
            load.faults.begin(kind)
        await asyncio.to_thread(getattr(server, kind))
        if kind == "kill":
            await asyncio.sleep(load.random.uniform(0.5, 1.5))
            await asyncio.to_thread(server.start)
        if loses:
            load.faults.end()
        await asyncio.sleep(load.random.uniform(1.5, 2.5))
    load.ending = True


def run_one(name, options, folder):
    chain, key, HTTP2Martlet.authority = make_certificates(folder)
    servers, martlet = [], None
    counts = collections.Counter()
    try:
        for _ in range(2):
            servers.append(SERVERS[name](folder, free_port(), chain, key))
        port, ports = free_port(), [server.port for server in servers]
        binary = os.path.abspath(options.binary)
        martlet = HTTP2Martlet(folder, port, ports, chain, key, binary=binary)
        faults = Faults()
        load = Load(port, martlet.authority, SERVERS[name].is_grpc, faults, options.seed)
        time.sleep(1)

        async def both():
            await asyncio.gather(load.run(), trouble(servers, load, options.seconds, counts))

        asyncio.run(both())
        in_good_order = martlet.stop()
        complaints = load.complaints + martlet.complaints()
        executed = collections.Counter(line for server in servers for line in server.executed())
        twice = [line for line in executed if line.startswith("POST") and executed[line] > 1]
        load.tally["twice"] = len(twice)
        complaints += [f"executed twice: {line}" for line in twice]
    finally:
        if martlet and is_alive(martlet.pid()):
            martlet.stop()
        for server in servers:
            server.stop()
    if not in_good_order:
        complaints.append("it didn't end in good order")
    with open(os.path.join(folder, "access.log")) as log:
        load.tally["again"] = sum(len(json.loads(line).get("attempts", [])) > 1 for line in log)
    return {"tally": load.tally, "counts": dict(counts), "complaints": complaints}


def table(results):
    names = [f"{name} {SERVERS[name].version()}" for name in results]
    lines = head_of(names, ROWS, results)
    for kind in ("restart", "reload", "kill"):
        cells = [str(result["counts"].get(kind, 0)) for result in results.values()]
        lines.append(row_of(f"{kind}s", cells))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="real-backends", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=int, default=20, help="of load per kind (20)")
    parser.add_argument("--servers", default=",".join(SERVERS), help="default: all")
    parser.add_argument("--protocol", default="h2", choices=("h2", "auto", "http/1.1"))
    parser.add_argument("--seed", type=int, default=1, help="of the order of requests (1)")
    parser.add_argument("--binary", required=True, help="the martlet binary")
    parser.add_argument("--keep", help="keep the logs in this folder")
    options = parser.parse_args()
    HTTP2Martlet.protocol = options.protocol
    results = run_each(parser, options.servers.split(","), SERVERS, options, run_one)
    title = f"{datetime.date.today()}, {options.protocol}, {options.seconds} s each"
    print(f"{title}\n\n{table(results)}\n")
    print_complaints(results)
    failed = [r for r in results.values() if r["complaints"] or not r["tally"]["answered"]]
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"real-backends: {failure}", file=sys.stderr)
        sys.exit(1)
