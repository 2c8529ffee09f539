"""A port of the loopback interface: its connections and threads. Who answers is told to it."""

from __future__ import annotations

import contextlib
import http.client
import selectors
import socket
import ssl
import threading
from collections.abc import Callable
from typing import BinaryIO

from partner_auth.testing._wire import BAD_REQUEST, Incoming, Outgoing, read, send


class Loopback:
    """Serve one port of 127.0.0.1, with a thread for each connection, until closed.

    `connected` is called for each connection that is taken; `respond` for each request, in the
    connection's thread, where None means that the connection is dropped.
    """

    def __init__(
        self,
        connected: Callable[[], None],
        respond: Callable[[Incoming], Outgoing | None],
        context: ssl.SSLContext | None,
        port: int = 0,
    ) -> None:
        """Open nothing yet."""
        self._connected = connected
        self._respond = respond
        self._context = context
        self._lock = threading.Lock()  # guards the five below
        self._open: dict[int, socket.socket] = {}
        self._threads: set[threading.Thread] = set()
        self._listener: socket.socket | None = None
        self._stop: Callable[[], None] | None = None
        self._accepted = 0
        self.port = port
        self.dropping = False
        self.closing = threading.Event()

    def listen(self) -> None:
        """Take connections: at first on the port wanted, or a free one, and on the same one later."""
        if self._stop is not None:
            return
        if self._listener is None:
            self._listener = _bound(self.port)
            self.port = self._listener.getsockname()[1]
        self._listener.listen(128)
        self._listener.setblocking(False)
        waker, wake = socket.socketpair()
        thread = self._started(self._accept, self._listener, waker)

        def stop() -> None:
            wake.close()
            thread.join()
            waker.close()

        self._stop = stop

    def refuse(self) -> None:
        """Refuse connections but keep the port; those that are open break."""
        if self._halt():
            # A bound socket that does not listen refuses, and keeps the port from others.
            self._listener = _bound(self.port)
        self.break_connections()

    def break_connections(self) -> None:
        """Shut every connection that is open; what waits for a byte on one wakes up."""
        with self._lock:
            connections = list(self._open.values())
        for connection in connections:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own: it takes the TLS state from under the thread that reads.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def close(self) -> None:
        """Break every connection, free the port, and wait for the threads to end."""
        self.closing.set()
        self._halt()
        if self._listener is not None:
            self._listener.close()
        self.break_connections()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(5.0)

    def _halt(self) -> bool:
        stop, self._stop = self._stop, None
        if stop is None or self._listener is None:
            return False
        stop()
        self._listener.close()
        return True

    def _accept(self, listener: socket.socket, waker: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(waker, selectors.EVENT_READ)
            while not any(key.fileobj is waker for key, _ in selector.select()):
                with contextlib.suppress(OSError):  # the client may be gone again
                    self._adopt(listener.accept()[0])

    def _adopt(self, connection: socket.socket) -> None:
        if self.dropping:
            connection.close()
            return
        connection.setblocking(True)
        # Else the body of an answer waits some 40 ms until the client acknowledges its head.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._accepted += 1
            number = self._accepted
            self._open[number] = connection
        self._connected()
        self._started(self._converse, connection, number)

    def _started(self, run: Callable[..., None], *args: object) -> threading.Thread:
        def body() -> None:
            run(*args)
            with self._lock:
                self._threads.discard(thread)

        thread = threading.Thread(target=body, name="partner_auth.testing", daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()
        return thread

    def _converse(self, connection: socket.socket, number: int) -> None:
        try:
            with contextlib.suppress(OSError):  # a client that is gone is no fault of the server's
                connection = self._secured(connection, number)
                with connection.makefile("rb") as stream:
                    while self._exchange(connection, stream, number):
                        pass
        finally:
            with self._lock:
                connection = self._open.pop(number)  # the secured one, though no handshake was done
            connection.close()

    def _secured(self, connection: socket.socket, number: int) -> socket.socket:
        if self._context is None:
            return connection
        secured = self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )
        with self._lock:
            self._open[number] = secured  # the plain one has lost its descriptor
        secured.do_handshake()
        return secured

    def _exchange(self, connection: socket.socket, stream: BinaryIO, number: int) -> bool:
        try:
            incoming = read(connection, stream, number)
        except (ValueError, http.client.HTTPException):
            connection.sendall(BAD_REQUEST)
            return False
        outgoing = self._respond(incoming) if incoming is not None else None
        if incoming is None or outgoing is None:
            return False
        return send(connection, incoming, outgoing)


def _bound(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except BaseException:
        listener.close()
        raise
    return listener
