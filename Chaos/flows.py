"""Constant load of TCP connections, and a verdict for every one.

- *ended with its backend*: it ended early, and the log of its backend says that it was the
  backend: it was killed, or it sent a reset.
- *dropped*: it ended early after the backend's first byte, and the backend's log says that the
  other side ended it. Nobody but the proxy can have done that.
- *refused*: no backend answered, although some could.
- *wrong*: a byte that does not belong there, at the client or at the backend.
- *reset that became an end*: the client reset it, and the backend saw a FIN. It would take a part
  for the whole.
- *stuck*: nothing came for a long time, also after its backend was well again.
"""

import asyncio
import collections
import itertools
import random
import time

from flow_backend import BLOCK, CHUNK, reset, stream_of

PATIENCE = 40
SIZES = [100] * 4 + [5_000] * 3 + [100_000] * 2 + [2_000_000]
# A conversation lasts over reloads and upgrades, half a second for each round.
ROUNDS_MAX = 80


class Early(Exception):
    """It has ended before its last byte."""


class Mixed(Exception):
    """A wrong byte."""


class FlowLoad:
    """A number of clients that open one connection after the other."""

    def __init__(self, port, faults, seed, clients, seconds):
        self.port, self.faults, self.clients = port, faults, clients
        self.rounds_max = min(ROUNDS_MAX, max(2, seconds))
        self.numbers = itertools.count(1)
        self.random = random.Random(seed)
        self.tally = collections.Counter()
        # Flows that ended early, and those that were reset by their clients, for the verdict.
        self.early, self.quits = [], []
        self.complaints = []
        self.slowest = 0.0
        self.ending = False

    async def run(self):
        await asyncio.gather(*(self.client(index % 3) for index in range(self.clients)))

    async def client(self, kind):
        while not self.ending:
            await self.one(kind)
            await asyncio.sleep(self.random.uniform(0, 0.1))

    async def one(self, kind):
        """One flow. `kind`: 0 and 1 are streams, 2 is a conversation."""
        number = next(self.numbers)
        self.tally["flows"] += 1
        begin = time.monotonic()
        writer, hello = None, []
        try:
            opening = asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
            reader, writer = await asyncio.wait_for(opening, PATIENCE)
            self.slowest = max(self.slowest, time.monotonic() - begin)
            work = self.talk if kind == 2 else self.stream
            whole = await work(number, reader, writer, hello)
            self.tally["complete" if whole else "reset by its client"] += 1
        except asyncio.TimeoutError:
            self.lose("stuck", number, f"nothing for {PATIENCE} s")
        except Mixed as mixed:
            self.lose("wrong", number, str(mixed))
        except (Early, asyncio.IncompleteReadError, OSError) as error:
            self.early.append((number, bool(hello), begin, time.monotonic(), repr(error)))
        finally:
            if writer:
                writer.transport.abort()

    async def greet(self, number, reader, hello):
        line = await asyncio.wait_for(reader.readuntil(b"\n"), PATIENCE)
        if line != f"HELLO {number}\n".encode():
            raise Mixed(f"it is greeted with {line}")
        hello.append(line)

    async def goodbye(self, count, reader, writer):
        writer.write_eof()
        line = await asyncio.wait_for(reader.read(), PATIENCE)
        if not line:
            raise Early("an end before the last line")
        if line != f"DONE {count}\n".encode():
            raise Mixed(f"its last line is {line[:60]}")
        return True

    async def talk(self, number, reader, writer, hello):
        rounds = self.random.randint(1, self.rounds_max)
        size = rounds * CHUNK
        up, down = stream_of(number, "up", size), stream_of(number, "down", size)
        writer.write(f"TALK {number} {rounds}\n".encode())
        await self.greet(number, reader, hello)
        for at in range(0, size, CHUNK):
            writer.write(up[at : at + CHUNK])
            await writer.drain()
            data = await asyncio.wait_for(reader.readexactly(CHUNK), PATIENCE)
            if data != down[at : at + CHUNK]:
                raise Mixed(f"byte {at} of a conversation")
            await asyncio.sleep(self.random.uniform(0, 1))
        return await self.goodbye(size, reader, writer)

    async def stream(self, number, reader, writer, hello):
        up, down = self.random.choice(SIZES), self.random.choice(SIZES)
        # Every tenth client leaves in the middle, with a reset.
        quits_at = self.random.randrange(down + 1) if self.random.random() < 0.1 else None
        writer.write(f"FLOW {number} {up} {down}\n".encode())
        sending = asyncio.create_task(self.send(stream_of(number, "up", up), writer))
        try:
            await self.greet(number, reader, hello)
            expected, got = stream_of(number, "down", down), 0
            while got < down:
                if quits_at is not None and got >= quits_at:
                    reset(writer)
                    self.quits.append(number)
                    return False
                data = await asyncio.wait_for(reader.read(min(BLOCK, down - got)), PATIENCE)
                if not data:
                    raise Early(f"an end after {got} of {down} bytes")
                if data != expected[got : got + len(data)]:
                    raise Mixed(f"byte {got} of {down}")
                got += len(data)
            await asyncio.wait_for(sending, PATIENCE)
            return await self.goodbye(up, reader, writer)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def send(self, data, writer):
        for at in range(0, len(data), BLOCK):
            writer.write(data[at : at + BLOCK])
            await writer.drain()

    # The verdict, when all is over.

    def judge(self, logs):
        """`logs`: what each backend has logged."""
        begun, ends = set(), {}
        for words in itertools.chain(*logs):
            if words[0] == "begin":
                begun.add(words[1])
            else:
                ends[words[1]] = words[2]
        for number, how in ends.items():
            if how == "wrong":
                self.lose("wrong", number, "at the backend")
        for number, greeted, begin, end, error in self.early:
            how = ends.get(str(number))
            if str(number) not in begun:
                if self.faults.during(begin, end):
                    self.tally["ended with its backend"] += 1
                else:
                    self.lose("refused", number, error)
            elif how == "own" or how is None and self.faults.during(begin, end):
                self.tally["ended with its backend"] += 1
            else:
                self.lose("dropped", number, f"{error}; greeted: {greeted}, backend: {how}")
        for number in self.quits:
            if ends.get(str(number)) == "fin":
                self.lose("became an end", number, "reset by its client")

    def lose(self, kind, number, text):
        self.tally[kind] += 1
        if len(self.complaints) < 1000:
            self.complaints.append(f"{time.strftime('%H:%M:%S')} flow {number}, {kind}: {text}")
