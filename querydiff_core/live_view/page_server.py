"""An HTTP server on loopback for one page and the frames that it asks for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib import resources
from socketserver import ThreadingTCPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from querydiff_core.errors import explained

LOOPBACK = "127.0.0.1"
NAMES = {LOOPBACK, "localhost"}
"""What a browser on this machine calls it; a foreign name that was made to point here is refused."""


class PageServer:
    """Serve `page.html` at `/`, and at `/frame?after=N` what `answer(N)` returns as JSON.

    Each request has a thread of its own, so `answer` may wait.

    Raises:
        QueryDiffError: if the port cannot be had.
    """

    def __init__(self, port: int, answer: Callable[[int], bytes]) -> None:
        page = resources.files("querydiff_core.live_view").joinpath("page.html").read_bytes()
        refused = (
            f"The page cannot be served on port {port}: {{reason}}; give --view-port another port, or 0 for any that "
            "is free."
        )
        with explained(refused, OSError, OverflowError):
            self._server = _Server(port, {"/": lambda after: page, "/frame": answer})
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def address(self) -> str:
        """Return the page's URL."""
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    def start(self) -> None:
        """Take requests from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more requests, and close the port; a request that is under way ends with its browser's patience."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingTCPServer):
    """Of the standard library's, without a look-up of this machine's name, which may take seconds."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, answers: dict[str, Callable[[int], bytes]]) -> None:
        self.answers = answers
        super().__init__((LOOPBACK, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of browsers that leave in the midst of an answer."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    timeout = 60.0
    """Seconds after which a browser that takes nothing is left alone."""
    server: _Server

    def do_GET(self) -> None:
        """Answer a browser."""
        asked = urlsplit(self.path)
        answer = self.server.answers.get(asked.path)
        host = self.headers.get("Host", "").partition(":")[0]
        after = parse_qs(asked.query).get("after", ["0"])[0]
        if host not in NAMES:
            self.send_error(HTTPStatus.FORBIDDEN)
        elif answer is None or not after.isdecimal():
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            self._send(answer(int(after)), "text/html" if asked.path == "/" else "application/json")

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the terminal is the command's."""

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)
