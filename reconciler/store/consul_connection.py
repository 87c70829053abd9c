"""One kept-alive HTTP/1.1 connection: a request goes out once, its answer comes in, and nothing else happens.

httptools reads the answers; the socket is ours. So a request is never sent twice behind a caller's back, it is known
whether a failure came before or after it was sent, and another thread can end a call. Used by
``store.consul_transport`` only.
"""

import contextlib
import select
import socket
import ssl

import httptools
import msgspec

PIECE_BYTES = 1 << 16


class Reply(msgspec.Struct, frozen=True, gc=False):
    """An answer as it came; the names of ``headers`` are in lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Connection:
    """For one thread at a time; only ``shut`` is for others."""

    def __init__(self, connected: socket.socket, headers: str) -> None:
        """``headers`` go with every request: whole lines, each with its end."""
        self._socket = connected
        self._headers = headers
        self._answers = _Answers()
        self.is_kept = False
        """The last answer came whole, and the server keeps the connection for another request."""
        self._waiting = select.poll()
        self._waiting.register(connected, select.POLLIN)

    @property
    def has_answered(self) -> bool:
        """Something came in once: over TLS, the server has accepted our certificate by then."""
        return self._answers.has_begun

    def is_stale(self) -> bool:
        """Something came that was not asked for: mostly the end."""
        return bool(self._waiting.poll(0))

    def exchange(self, method: str, target: str, body: bytes | None, silence_s: float) -> Reply:
        """Send a request and return the answer, of whatever status.

        Raises:
            TimeoutError: nothing was taken or came for ``silence_s``. However long an answer takes that goes on coming.
            OSError: it broke off, or what came is no HTTP. Only ``close`` is left to do then.
        """
        length = "" if body is None else f"Content-Length: {len(body)}\r\n"
        head = f"{method} {target} HTTP/1.1\r\n{self._headers}{length}\r\n".encode()
        self.is_kept = False
        self._socket.settimeout(silence_s)
        # who refuses a request (too large) answers and closes before all of it was sent: the answer is there to be read
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            self._socket.sendall(head + body if body else head)
        while (reply := self._answers.reply) is None:
            self._answers.take(self._socket.recv(PIECE_BYTES))
        self.is_kept = self._answers.is_kept
        self._answers.expect()  # a large one would stay in memory while nothing is asked
        return reply

    def shut(self) -> None:
        """Break it off: a thread that waits for the answer gets an error."""
        with contextlib.suppress(OSError):
            # past the TLS layer, whose state belongs to the thread that is reading
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back to the system."""
        self._socket.close()


class _Answers:
    """What the parser calls while it reads one answer after the other."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.has_begun = False
        self.expect()

    def expect(self) -> None:
        """Forget the last answer; the next one is read."""
        self.reply: Reply | None = None
        self.is_kept = False
        self._headers: dict[bytes, bytes] = {}
        self._pieces: list[bytes] = []
        self._lasts_until_closed = False

    def take(self, data: bytes) -> None:
        """Read a piece; an empty one is the end of all. ``reply`` is there once the answer is whole."""
        if not data:
            if not self._lasts_until_closed:
                where = "in the middle of the answer" if self._headers else "without an answer"
                raise ConnectionError(f"the connection was closed {where}")
            self._finish()
            return
        self.has_begun = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise ConnectionError(f"that is no HTTP ({error})") from error

    def on_message_begin(self) -> None:
        if self.reply is not None:
            raise ConnectionError("an answer to nothing")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._lasts_until_closed = not self._headers.keys() & {b"content-length", b"transfer-encoding"}

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            self.expect()  # it only says that the answer will come
        else:
            self.is_kept = self._parser.should_keep_alive()
            self._finish()

    def _finish(self) -> None:
        self.reply = Reply(self._parser.get_status_code(), self._headers, b"".join(self._pieces))


def connect(host: str, port: int, tls: ssl.SSLContext | None, server_name: str, timeout_s: float) -> socket.socket:
    """A socket to the first address of ``host`` that takes it, by IPv4 or IPv6; proxies are for others.

    Raises:
        ssl.SSLError: there is no trust between the two.
        OSError, UnicodeError: no connection, or no such name.
    """
    connected = socket.create_connection((host, port), timeout_s)
    try:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return tls.wrap_socket(connected, server_hostname=server_name) if tls else connected
    except BaseException:
        connected.close()
        raise
