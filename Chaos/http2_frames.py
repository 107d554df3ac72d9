"""Frames and field blocks of HTTP/2 (RFC 9113, RFC 7541), as far as flooders and a simple client
need them. Nothing is compressed, except in what tests compression."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, GOAWAY = 0, 1, 2, 3, 4, 6, 7
WINDOW_UPDATE, CONTINUATION, PRIORITY_UPDATE = 8, 9, 0x10
END_STREAM, ACK, END_HEADERS = 1, 1, 4
WHOLE = END_STREAM | END_HEADERS


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(
        ">I", stream
    ) + payload


def field(name, value):
    """A literal field that leaves the table as it is, of less than 127 bytes each."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def block(path, method=0x82, *fields):
    """The field block of a request; 0x82 is GET and 0x83 is POST."""
    authority = b"a.example.com"
    return (
        bytes([method, 0x86, 0x04, len(path)]) + path + bytes([0x01, len(authority)]) + authority
        + b"".join(field(name, value) for name, value in fields)
    )


def get(stream, path):
    return frame(HEADERS, WHOLE, stream, block(path))


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def beginning(*pairs):
    """What a client sends first."""
    return PREFACE + settings(*pairs)


class Client:
    """One connection with one request at a time, which answers SETTINGS and PING."""

    def __init__(self, port):
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.sendall(beginning())
        self.buffer = b""
        self.stream = -1
        self.isLast = False

    def get(self, path):
        """Status (as sent, encoded) and body of the answer."""
        self.stream += 2
        self.connection.sendall(get(self.stream, path))
        head, body = b"", b""
        while True:
            kind, flags, stream, payload = self.next()
            if kind == SETTINGS and not flags & ACK:
                self.connection.sendall(frame(SETTINGS, ACK, 0))
            elif kind == PING and not flags & ACK:
                self.connection.sendall(frame(PING, ACK, 0, payload))
            elif kind == GOAWAY:
                if struct.unpack(">I", payload[:4])[0] < self.stream:
                    raise ConnectionError("GOAWAY excludes the request")
                self.isLast = True
            elif kind == RESET:
                raise ConnectionError(f"RST_STREAM {payload.hex()}")
            elif kind == DATA and stream == self.stream:
                body += payload
                if payload:
                    self.connection.sendall(
                        frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload)))
                    )
            elif kind == HEADERS and stream == self.stream:
                head = payload
            if stream == self.stream and kind in (DATA, HEADERS) and flags & END_STREAM:
                return head, body

    def next(self):
        header = self.read(9)
        size = int.from_bytes(header[:3], "big")
        return header[3], header[4], int.from_bytes(header[5:9], "big"), self.read(size)

    def read(self, count):
        while len(self.buffer) < count:
            if not (part := self.connection.recv(65536)):
                raise ConnectionError("closed")
            self.buffer += part
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def close(self):
        self.connection.close()
