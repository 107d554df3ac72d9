"""Frames of WebSocket (RFC 6455 5), as much of them as two ends need that mean well."""

import base64
import hashlib
import os

BINARY, CLOSE = 2, 8


def accept_of(key):
    """What the server answers to Sec-WebSocket-Key (RFC 6455 4.2.2)."""
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return base64.b64encode(digest).decode()


def frame(kind, payload, masked):
    """A whole message in one frame; clients mask theirs."""
    size = len(payload)
    short = size if size < 126 else 126 if size < 1 << 16 else 127
    head = bytes([0x80 | kind, short | (0x80 if masked else 0)])
    if short > 125:
        head += size.to_bytes(2 if short == 126 else 8, "big")
    if masked:
        key = os.urandom(4)
        return head + key + mask(payload, key)
    return head + payload


def mask(payload, key):
    """Puts a mask on, or takes it off."""
    size = len(payload)
    pad = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")


async def read_frame(reader):
    """Kind and payload of the next."""
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size > 125:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    key = await reader.readexactly(4) if second & 0x80 else b""
    payload = await reader.readexactly(size)
    return first & 0x0F, mask(payload, key) if key else payload
