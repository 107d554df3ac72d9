"""Python's h2 as the other side of a conversation, client or server, driven by a seed.

    h2-peer.py client|server SEED

Messages go both ways in turn, each preceded by its length in four bytes. Input: the bytes that our
side sends. Output: one byte that tells whether this side is done, then the bytes that it sends. The
last input message is empty. The answer to it has a line for each stream: identifier, received body
bytes, whether they were right, whether the stream ended, whether it was reset.
"""

import random
import struct
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived, RequestReceived, ResponseReceived, StreamEnded, StreamReset,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

is_client = sys.argv[1] == "client"
draw = random.Random(int(sys.argv[2]))
connection = H2Connection(H2Configuration(client_side=is_client, header_encoding=None))
STREAMS = 12


class Stream:
    def __init__(self):
        self.wanted, self.sent, self.trailers, self.ended = 0, 0, False, False
        self.received, self.right, self.got_end = 0, True, False
        self.reset, self.head = False, False


streams = {}
opened = 0


def byte(stream, index, by_server):
    return (stream * 31 + index * 7 + (101 if by_server else 0)) & 0xFF


def size():
    return draw.choice([0, 1, 100, 5000, 70_000])


def open_stream():
    global opened
    if connection.open_outbound_streams >= connection.remote_settings.max_concurrent_streams:
        return
    number = connection.get_next_available_stream_id()
    opened += 1
    stream = streams[number] = Stream()
    stream.wanted, stream.trailers = size(), draw.random() < 0.3
    stream.head = True
    fields = [
        (":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", f"/{number}"),
        ("user-agent", "test"), ("cookie", "a=1"), ("cookie", "b=2"),
    ]
    stream.ended = stream.wanted == 0 and not stream.trailers
    connection.send_headers(number, fields, end_stream=stream.ended)


def answer(number, stream):
    stream.wanted, stream.trailers = size(), draw.random() < 0.3
    stream.head = True
    if draw.random() < 0.2:
        connection.send_headers(number, [(":status", "103"), ("link", "</a>")])
    stream.ended = stream.wanted == 0 and not stream.trailers
    fields = [(":status", "200"), ("server", "h2"), ("x-number", str(number))]
    connection.send_headers(number, fields, end_stream=stream.ended)


def send(number, stream):
    room = min(connection.local_flow_control_window(number), connection.max_outbound_frame_size)
    count = min(room, stream.wanted - stream.sent, draw.choice([1, 100, 1 << 20]))
    if count > 0:
        data = bytes(byte(number, stream.sent + i, not is_client) for i in range(count))
        padding = draw.choice([None, None, 0, 5]) if room >= count + 6 else None
        connection.send_data(number, data, pad_length=padding)
        stream.sent += count
    if stream.sent == stream.wanted:
        if stream.trailers:
            connection.send_headers(number, [("x-sum", "1")], end_stream=True)
        else:
            connection.end_stream(number)
        stream.ended = True


def take(event):
    if isinstance(event, RequestReceived):
        streams[event.stream_id] = Stream()
    elif isinstance(event, ResponseReceived):
        streams[event.stream_id].right &= (b":status", b"200") in event.headers
    elif isinstance(event, DataReceived):
        stream = streams[event.stream_id]
        for value in event.data:
            stream.right &= value == byte(event.stream_id, stream.received, is_client)
            stream.received += 1
        if event.flow_controlled_length and not stream.reset:
            connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    elif isinstance(event, StreamEnded):
        streams[event.stream_id].got_end = True
    elif isinstance(event, StreamReset):
        streams[event.stream_id].reset = True


def act():
    if is_client and opened < STREAMS and draw.random() < 0.5:
        open_stream()
    if draw.random() < 0.05:
        connection.ping(b"12345678")
    if draw.random() < 0.05:
        window = draw.choice([1, 100, 65_535, 200_000])
        table = draw.choice([0, 100, 4096])
        connection.update_settings(
            {SettingCodes.INITIAL_WINDOW_SIZE: window, SettingCodes.HEADER_TABLE_SIZE: table})
    for number, stream in list(streams.items()):
        if stream.reset:
            continue
        if not stream.head and not is_client and draw.random() < 0.5:
            answer(number, stream)
        elif stream.head and not stream.ended:
            send(number, stream)
        elif draw.random() < 0.004 and not (stream.ended and stream.got_end):
            connection.reset_stream(number, ErrorCodes.CANCEL)
            stream.reset = True


def is_done():
    if is_client and opened < STREAMS:
        return False
    return all(s.reset or (s.ended and s.got_end) for s in streams.values())


def read():
    head = sys.stdin.buffer.read(4)
    return sys.stdin.buffer.read(struct.unpack(">I", head)[0]) if len(head) == 4 else b""


def write(data):
    sys.stdout.buffer.write(struct.pack(">I", len(data)) + data)
    sys.stdout.buffer.flush()


connection.initiate_connection()
while data := read():
    # One byte announces a turn, even if nothing was sent.
    try:
        for event in connection.receive_data(data[1:]) if len(data) > 1 else []:
            take(event)
        act()
    except ProtocolError as error:
        write(b"!" + repr(error).encode())
        sys.exit(1)
    write((b"1" if is_done() else b"0") + connection.data_to_send())
lines = [
    f"{number} {s.received} {int(s.right)} {int(s.got_end)} {int(s.reset)}"
    for number, s in sorted(streams.items())
]
write("\n".join(lines).encode())
