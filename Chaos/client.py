"""Constant load over TLS, and a verdict on every single request.

A request is *lost* when it failed though it could have been answered: a GET or PUT may be sent to
another backend until a byte of an answer has gone out, and nobody may be turned away at the door.
It was *cut* when its answer ended before its end, in the open: legal for anything whose backend
failed half-way. A POST that *failed* with 502 or 504 is legal if a backend was in trouble then,
since nobody can know whether it was carried out. Whatever happened with all backends well is lost.
An answer that isn't the one that was asked for is *wrong*, and so is one that ends too early and
looks whole.
"""

import asyncio
import collections
import itertools
import random
import ssl
import time

from backend import body_of

# One step of a client must have its outcome within this time, whatever goes on behind.
PATIENCE = 40
METHODS = ["GET"] * 6 + ["PUT"] * 2 + ["POST"] * 2
SIZES = [32] * 6 + [4096] * 3 + [100_000] * 2 + [600_000]
# A fault's consequences may show a little later: time-outs run, health has to turn.
AFTERMATH = 1.5


class Closed(Exception):
    """The connection ended. `begun`: after a part of an answer; `reused`: it had served before."""

    def __init__(self, begun, reused):
        super().__init__()
        self.begun, self.reused = begun, reused


class Faults:
    """When which kind of trouble was about."""

    def __init__(self):
        self.spans = []

    def begin(self, kind):
        self.spans.append([time.monotonic(), None, kind])

    def end(self):
        self.spans[-1][1] = time.monotonic()

    def during(self, begin, end):
        return any(
            began <= end and (ended is None or ended + AFTERMATH >= begin)
            for began, ended, _ in self.spans
        )


class Connection:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.served = 0

    @staticmethod
    async def open(port, context):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="localhost", limit=1 << 20
        )
        return Connection(reader, writer)

    async def exchange(self, method, number, size, sent):
        """Status and body, and whether the connection goes on."""
        reused, begun = self.served > 0, False
        head = f"{method} /item/{number}?size={size} HTTP/1.1\r\nHost: localhost\r\n"
        if method != "GET":
            head += f"Content-Length: {len(sent)}\r\n"
        try:
            self.writer.write(head.encode() + b"\r\n" + sent)
            await self.writer.drain()
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            begun = True
            status = int(lines[0].split(" ")[1])
            fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
            if status == 200 and fields.get("x-id") != str(number):
                return status, b"the answer to another request", False
            if fields.get("transfer-encoding") == "chunked":
                body = b""
                while length := int(await self.reader.readuntil(b"\r\n"), 16):
                    body += (await self.reader.readexactly(length + 2))[:-2]
                await self.reader.readexactly(2)
            else:
                body = await self.reader.readexactly(int(fields["content-length"]))
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError) as error:
            partial = getattr(error, "partial", b"")
            raise Closed(begun or len(partial) > 0, reused) from None
        self.served += 1
        return status, body, fields.get("connection") != "close"

    def close(self):
        self.writer.transport.abort()


class Load:
    """`clients` of them, each asking again and again, some on a new connection every time."""

    def __init__(self, port, authority, faults, seed, clients, pause):
        self.port, self.faults, self.clients, self.pause = port, faults, clients, pause
        self.context = ssl.create_default_context(cafile=authority)
        self.numbers = itertools.count(1)
        self.random = random.Random(seed)
        self.tally = collections.Counter()
        self.complaints = []
        self.slowest = 0.0
        self.ending = False

    async def run(self):
        await asyncio.gather(*(self.client(index % 4 == 3) for index in range(self.clients)))

    async def client(self, always_fresh):
        connection = None
        while not self.ending:
            if connection is None:
                connection = await self.connect()
                if connection is None:
                    await asyncio.sleep(0.05)
                    continue
            if not await self.ask(connection) or always_fresh:
                connection.close()
                connection = None
            await asyncio.sleep(self.random.uniform(0, 2 * self.pause))
        if connection:
            connection.close()

    async def connect(self):
        try:
            opening = Connection.open(self.port, self.context)
            return await asyncio.wait_for(opening, PATIENCE)
        except (OSError, asyncio.TimeoutError) as error:
            self.lose("turned away", f"{type(error).__name__}: {error}")
            return None

    async def ask(self, connection):
        """One request with its verdict; whether the connection goes on."""
        number, method = next(self.numbers), self.random.choice(METHODS)
        size = self.random.choice(SIZES)
        sent = body_of(number, self.random.choice(SIZES[:-1])) if method != "GET" else b""
        self.tally["requests"] += 1
        begin = time.monotonic()
        status, reason = 0, ""
        try:
            exchange = connection.exchange(method, number, size, sent)
            status, body, goes_on = await asyncio.wait_for(exchange, PATIENCE)
        except Closed as closed:
            reason = "cut" if closed.begun else "closed on reuse" if closed.reused else "closed"
        except asyncio.TimeoutError:
            reason = "no answer"
        except (ValueError, KeyError, IndexError) as error:
            self.lose("wrong", f"{method} {number}: {error!r}")
            return False
        end = time.monotonic()
        self.slowest = max(self.slowest, end - begin)
        troubled = self.faults.during(begin, end)
        if status == 200:
            if body == body_of(number, size):
                self.tally["answered"] += 1
            else:
                self.lose("wrong", f"{method} {number}: {len(body)} bytes for {size}")
            return goes_on
        if reason == "cut" and troubled:
            self.tally["cut"] += 1
        elif status in (502, 504) and method == "POST" and troubled:
            self.tally["failed"] += 1
        elif reason == "closed on reuse":
            # RFC 9112 9.3.1 lets a client ask again, which a browser would; counted all the same.
            self.tally["closed on reuse"] += 1
            self.complain(f"{method} {number}: closed on reuse, without an answer")
        else:
            self.lose("lost", f"{method} {number}: {reason or status} (trouble: {troubled})")
        return bool(status) and goes_on

    def lose(self, kind, text):
        self.tally[kind] += 1
        self.complain(f"{kind}: {text}")

    def complain(self, text):
        if len(self.complaints) < 1000:
            self.complaints.append(f"{time.strftime('%H:%M:%S')} {text}")
