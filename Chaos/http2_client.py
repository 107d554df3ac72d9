"""An HTTP/2 connection for tests, with the package h2: requests with small bodies, many at a time.

`request` returns a response, or raises `Broken`. Bodies that are sent must fit into the first
window of a stream. `stall` begins a request whose response is never read, so that its stream is
blocked when its window is full; the connection isn't.
"""

import asyncio
import ssl

import h2.config
import h2.connection
import h2.errors
import h2.events


class Broken(Exception):
    """The stream was reset, or the connection ended. `begun`: after a byte of the response."""

    def __init__(self, text, begun=False):
        super().__init__(text)
        self.begun = begun


class Response:
    def __init__(self):
        self.fields, self.trailers, self.body = {}, {}, b""
        self.done = asyncio.get_running_loop().create_future()

    @property
    def status(self):
        return int(self.fields.get(":status", 0))

    def fail(self, text):
        if not self.done.done():
            self.done.set_exception(Broken(text, bool(self.fields)))


class Client:
    @classmethod
    async def open(cls, port, authority=None):
        """With an authority, over TLS."""
        context = None
        if authority:
            context = ssl.create_default_context(cafile=authority)
            context.set_alpn_protocols(["h2"])
        self = cls()
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="localhost" if authority else None
        )
        self.scheme = "https" if authority else "http"
        configuration = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.connection = h2.connection.H2Connection(configuration)
        self.connection.initiate_connection()
        self.responses = {}
        self.stalled = set()
        self.is_open = True
        self.flush()
        self.task = asyncio.create_task(self.read())
        return self

    def flush(self):
        if self.is_open:
            self.writer.write(self.connection.data_to_send())

    async def read(self):
        reason = "the connection was closed"
        try:
            while data := await self.reader.read(1 << 16):
                for event in self.connection.receive_data(data):
                    self.take(event)
                self.flush()
        except (OSError, ssl.SSLError, h2.exceptions.ProtocolError) as error:
            reason = f"the connection failed: {error!r}"
        self.is_open = False
        for response in self.responses.values():
            response.fail(reason)
        self.responses = {}

    def take(self, event):
        if isinstance(event, h2.events.ConnectionTerminated):
            self.is_open = False
            return
        response = self.responses.get(getattr(event, "stream_id", 0))
        if isinstance(event, h2.events.DataReceived):
            length = event.flow_controlled_length
            if event.stream_id in self.stalled:
                self.connection.increment_flow_control_window(length)
            else:
                self.connection.acknowledge_received_data(length, event.stream_id)
        if response is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            response.fields = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            response.body += event.data
        elif isinstance(event, h2.events.TrailersReceived):
            response.trailers = dict(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            del self.responses[event.stream_id]
            if not response.done.done():
                response.done.set_result(None)
        elif isinstance(event, h2.events.StreamReset):
            del self.responses[event.stream_id]
            response.fail(f"reset with {event.error_code!r}")

    def send(self, method, path, fields=(), body=b""):
        """Returns the stream of a new request."""
        if not self.is_open:
            raise Broken("the connection has ended")
        stream = self.connection.get_next_available_stream_id()
        head = [
            (":method", method), (":scheme", self.scheme), (":authority", "localhost"),
            (":path", path), *fields,
        ]
        self.connection.send_headers(stream, head, end_stream=not body)
        if body:
            self.connection.send_data(stream, body, end_stream=True)
        self.flush()
        return stream

    async def request(self, *request):
        response = self.responses[self.send(*request)] = Response()
        await response.done
        return response

    def stall(self, path):
        self.stalled.add(self.send("GET", path))

    def resume(self):
        """Resets all stalled streams."""
        for stream in self.stalled:
            self.connection.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        self.flush()
        self.stalled = set()

    def close(self):
        self.is_open = False
        self.task.cancel()
        self.writer.transport.abort()
