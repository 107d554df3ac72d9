"""A TCP server whose every byte can be checked, with faults on command.

A connection begins with a line, `FLOW ID UP DOWN`, and then carries UP bytes to the server and DOWN
bytes back, each side at its own pace. The bytes depend on the id, the direction and the position
(`stream_of`). The server says `HELLO ID` first. When the client has finished, it says `DONE` with
the count of bytes that it got, and finishes too. `TALK ID ROUNDS` is a conversation: 64 bytes are
answered with 64 bytes. `PING` is a health check.

It logs how each flow begins and ends, in one write each, so the log is complete even if the process
is killed: `done`, `wrong`, `fin` or `reset` by the other side, `own` if it did so itself.

It reads commands from standard input, one word per line: `well`, `deaf` (it reads and writes
nothing), `reset` (a TCP reset in the middle of each flow).
"""

import asyncio
import hashlib
import os
import socket
import sys

from backend import RESET_AT_ONCE, Backend

CHUNK = 64
BLOCK = 32 * 1024


def stream_of(number, way, size):
    """The correct bytes of one direction of a flow; no position is like another."""
    return hashlib.shake_128(f"{number}/{way}".encode()).digest(size)


def reset(writer):
    """Closes with a TCP reset."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_ONCE)
    writer.transport.abort()


class Wrong(Exception):
    """A byte that does not belong there."""


class FlowBackend(Backend):
    def __init__(self, port, log):
        super().__init__(port, log)
        self.hearing = asyncio.Event()
        self.hearing.set()

    def listen(self):
        super().listen()
        self.hearing.clear() if self.mode == "deaf" else self.hearing.set()

    def note(self, *words):
        os.write(self.log, (" ".join(words) + "\n").encode())

    async def serve(self, reader, writer):
        number = None
        try:
            line = (await reader.readuntil(b"\n")).decode().split()
            if line[0] == "PING":
                writer.write(b"+PONG\n")
                await writer.drain()
                return
            number = line[1]
            self.note("begin", number)
            writer.write(f"HELLO {number}\n".encode())
            if line[0] == "TALK":
                end = await self.talk(number, int(line[2]), reader, writer)
            else:
                end = await self.flow(number, int(line[2]), int(line[3]), reader, writer)
            self.note("end", number, end)
        except asyncio.IncompleteReadError:
            if number:
                self.note("end", number, "fin")
        except OSError:
            if number:
                self.note("end", number, "reset")
        except Wrong as wrong:
            self.note("end", number, "wrong")
            writer.write(f"WRONG {wrong}\n".encode())
        finally:
            writer.close()

    async def talk(self, number, rounds, reader, writer):
        size = rounds * CHUNK
        up, down = stream_of(number, "up", size), stream_of(number, "down", size)
        for at in range(0, size, CHUNK):
            await self.hearing.wait()
            if await reader.readexactly(CHUNK) != up[at : at + CHUNK]:
                raise Wrong(at)
            if self.mode == "reset":
                reset(writer)
                return "own"
            writer.write(down[at : at + CHUNK])
            await writer.drain()
        return await self.finish(size, reader, writer)

    async def flow(self, number, up, down, reader, writer):
        sending = asyncio.create_task(self.send(stream_of(number, "down", down), writer))
        try:
            expected, got = stream_of(number, "up", up), 0
            while got < up:
                await self.hearing.wait()
                data = await reader.read(BLOCK)
                if not data:
                    raise asyncio.IncompleteReadError(b"", up)
                if data != expected[got : got + len(data)]:
                    raise Wrong(got)
                got += len(data)
                if self.mode == "reset" and got >= up // 2:
                    reset(writer)
                    return "own"
            await sending
            return await self.finish(got, reader, writer)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def send(self, data, writer):
        for at in range(0, len(data), BLOCK):
            await self.hearing.wait()
            writer.write(data[at : at + BLOCK])
            await writer.drain()

    async def finish(self, got, reader, writer):
        """Waits for the client's FIN, and answers it with ours."""
        if await reader.read(1):
            raise Wrong(got)
        writer.write(f"DONE {got}\n".encode())
        await writer.drain()
        writer.write_eof()
        return "done"


async def main():
    await FlowBackend(int(sys.argv[1]), sys.argv[2]).run()


if __name__ == "__main__":
    asyncio.run(main())
