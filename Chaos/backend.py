"""A small HTTP/1.1 server that counts what reaches it and misbehaves when told to.

Every request carries an id in its path, /item/ID?size=N. The body of an answer follows from the id
alone (`body_of`), so that whoever gets it can tell whether it is the right one. The moment that a
head has arrived its method and id are appended to a log, in one write and before anything else
happens, so that the count holds even if this process is killed in the next moment.

Under /socket it speaks WebSocket: to each message, an id and a body by that id, it answers with
a body as long by the next id.

What it is told comes by the standard input, one word a line: `well`, `slow`, `reset` (half of a
body, then a reset of the connection).
"""

import asyncio
import hashlib
import os
import socket
import struct
import sys

from frames import BINARY, CLOSE, accept_of, frame, read_frame

SLOW_SECONDS = 0.3
RESET_AT_ONCE = struct.pack("ii", 1, 0)


def body_of(number, size):
    """The one right body for a request."""
    seed = hashlib.sha256(str(number).encode()).digest()
    return (seed * (size // len(seed) + 1))[:size]


class Backend:
    def __init__(self, port, log):
        self.port = port
        self.mode = "well"
        self.log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def run(self):
        server = await asyncio.start_server(
            self.serve, "127.0.0.1", self.port, backlog=512, reuse_address=True
        )
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), self.listen)
        print("ready", flush=True)
        async with server:
            await server.serve_forever()

    def listen(self):
        said = os.read(sys.stdin.fileno(), 4096).decode().split()
        if not said:
            os._exit(0)  # Whoever started this is gone.
        self.mode = said[-1]

    async def serve(self, reader, writer):
        try:
            while await self.answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        if target == "/socket":
            key = next(line for line in lines if line.lower().startswith("sec-websocket-key: "))
            return await self.converse(key.split(": ")[1], reader, writer)
        if not target.startswith("/item/"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")  # A health check.
            await writer.drain()
            return "close" not in head.decode("latin-1").lower()
        number, _, size = target.removeprefix("/item/").partition("?size=")
        os.write(self.log, f"{method} {number}\n".encode())
        if fields.get("transfer-encoding") == "chunked":
            sent = b""
            while length := int(await reader.readuntil(b"\r\n"), 16):
                sent += (await reader.readexactly(length + 2))[:-2]
            await reader.readuntil(b"\r\n")
        else:
            sent = await reader.readexactly(int(fields.get("content-length", 0)))
        if method != "GET" and sent != body_of(number, len(sent)):
            writer.write(b"HTTP/1.1 422 Mixed Up\r\nContent-Length: 0\r\n\r\n")
            return True
        if self.mode == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        body = body_of(number, int(size))
        # Every other answer is chunked.
        chunked = int(number) % 2 == 0
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
        writer.write(f"HTTP/1.1 200 OK\r\nX-Id: {number}\r\n{framing}\r\n\r\n".encode())
        if chunked:
            pieces = [body[at : at + 16384] for at in range(0, len(body), 16384)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
            body += b"0\r\n\r\n"
        if self.mode == "reset":
            writer.write(body[: len(body) // 2])
            await writer.drain()
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_ONCE)
            writer.transport.abort()
            return False
        writer.write(body)
        await writer.drain()
        return "connection: close" not in head.decode("latin-1").lower()

    async def converse(self, key, reader, writer):
        """Answers messages until the client says goodbye; one that is wrong ends it at once."""
        os.write(self.log, b"SOCKET 0\n")
        head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        writer.write(f"{head}Sec-WebSocket-Accept: {accept_of(key)}\r\n\r\n".encode())
        while True:
            kind, payload = await read_frame(reader)
            if kind == CLOSE:
                writer.write(frame(CLOSE, payload, masked=False))
                await writer.drain()
                return False
            number, _, sent = payload.partition(b" ")
            if sent != body_of(int(number), len(sent)):
                return False
            writer.write(frame(BINARY, body_of(int(number) + 1, len(sent)), masked=False))
            await writer.drain()


if __name__ == "__main__":
    asyncio.run(Backend(int(sys.argv[1]), sys.argv[2]).run())
