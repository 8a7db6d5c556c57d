"""uvicorn, as we run it: our sockets, our signals, no lifespan, no log of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import uvicorn

_KEEP_ALIVE = 75  # seconds an idle connection stays open: longer than the load balancers in front keep theirs


class HttpServer(uvicorn.Server):
    """A uvicorn server that leaves signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signals: `lading.service.server` has them."""
        yield


def make_server(app: Any, graceful_seconds: float) -> HttpServer:
    """A server for an ASGI application. ``graceful_seconds`` is how long open answers may take once it should exit."""
    config = uvicorn.Config(
        app,
        loop="none",
        http=_http(),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(graceful_seconds)),
    )
    return HttpServer(config)


def _http() -> str:
    try:
        import httptools  # noqa: F401, PLC0415 - only to see whether it is there
    except ImportError:
        return "h11"
    return "httptools"
