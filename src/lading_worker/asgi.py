"""Runs a starlette ``Response`` and collects what it would send: status, headers, the whole body."""

import asyncio
import sys


def answer_of(response, head):
    """``(status, headers, body, after)`` of a response that a predictor returned; ``after`` runs its background task, or is None.

    ``head`` is the request's. Raises whatever the response's own iterator raises.
    """
    background = getattr(response, "background", None)
    response.background = None
    after = None if background is None else lambda: _run(background())
    kind = type(response)
    simple = kind.__call__ is sys.modules["starlette.responses"].Response.__call__ and hasattr(response, "body")
    if simple:
        return response.status_code, _texts(response.raw_headers), bytes(response.body), after
    collected = _Collected()
    _run(response(_request_scope(head), _wait_for_ever, collected.send))
    return collected.status, _texts(collected.headers), b"".join(collected.parts), after


class _Collected:
    def __init__(self):
        self.status, self.headers, self.parts = 500, [], []

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], message.get("headers", [])
        elif message["type"] == "http.response.body":
            self.parts.append(bytes(message.get("body", b"")))


async def _wait_for_ever():
    # The client is there until the answer is complete.
    await asyncio.Event().wait()


def _run(awaitable):
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(awaitable)
    finally:
        left = _all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(_end(left))
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()


async def _end(tasks):
    await asyncio.gather(*tasks, return_exceptions=True)


def _all_tasks(loop):
    return asyncio.all_tasks(loop) if hasattr(asyncio, "all_tasks") else asyncio.Task.all_tasks(loop)


def _request_scope(head):
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": head["method"],
        "scheme": "http",
        "path": head["path"],
        "raw_path": head["path"].encode("utf-8"),
        "root_path": "",
        "query_string": head["query"].encode("latin-1"),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in head["headers"]],
        "client": None,
        "server": None,
        "extensions": {},
    }


def _texts(pairs):
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in pairs]
