"""What Serve puts before the replicas that are ours (``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH``, which it calls where a replica listens).

Serve watches each request's connection with two tasks of its own, unless the request says that this is not wanted. Our server watches it
itself, so every request says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Asgi = Callable[[Any, Any, Any], Awaitable[None]]
UNWATCHED = (b"x-request-disconnect-disabled", b"?1")
"""Ray's header for it."""


class Unwatched:
    """Middleware; see the module."""

    def __init__(self, app: Asgi) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """See the ASGI specification."""
        if scope["type"] == "http":
            scope["headers"] = [*scope["headers"], UNWATCHED]
        await self._app(scope, receive, send)


def middlewares() -> list[Any]:
    """What Serve asks for."""
    from starlette.middleware import Middleware  # noqa: PLC0415 -- it comes with Serve

    return [Middleware(Unwatched)]
