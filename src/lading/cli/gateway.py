"""``lading gateway``: requests that may be repeated come through, whatever becomes of one of the servers behind it."""

from __future__ import annotations

import argparse
import asyncio
import signal
from urllib.parse import urlsplit

from lading.cli.options import add_json
from lading.cli.output import Output
from lading.cli.values import seconds, size
from lading.model.events import Event, Phase
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.service.gateway import Gateway, Limits
from lading.service.upstreams import Upstream

DEFAULT_PORT = 8080


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    parser.add_argument(
        "urls", nargs="+", metavar="URL", help="the servers: http://HOST:PORT[/PATH] of each, as `lading status` shows them"
    )
    parser.add_argument("-p", "--port", type=int, default=DEFAULT_PORT, help=f"the port (default: {DEFAULT_PORT}); 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--deadline", type=seconds, default=120.0, metavar="SECONDS", help="for a request with all its attempts (default: 120)"
    )
    parser.add_argument(
        "--patience",
        type=seconds,
        default=5.0,
        metavar="SECONDS",
        help="after which a request that may be repeated is, elsewhere (default: 5)",
    )
    parser.add_argument("--max-body", type=size, default=100 << 20, metavar="SIZE", help="the largest body of a request (default: 100M)")
    parser.add_argument(
        "--max-held", type=size, default=512 << 20, metavar="SIZE", help="all bodies that are held, together (default: 512M)"
    )
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    from lading.service.listening import address_of, bind

    upstreams = [_upstream(url) for url in arguments.urls]
    sizes = {"max_body": arguments.max_body, "max_held": arguments.max_held}
    limits = Limits(deadline=arguments.deadline, patience=arguments.patience, **sizes)
    listener = bind(arguments.host, arguments.port)
    output.reporter(Event(step="Serving", phase=Phase.FINISHED, message=f"{len(upstreams)} servers behind {address_of(listener)}"))
    asyncio.run(_serve(Gateway(upstreams, limits), listener, arguments.deadline))
    return 0


async def _serve(gateway: Gateway, listener: object, deadline: float) -> None:
    from lading.service.http_server import make_server

    server = make_server(gateway, deadline)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: setattr(server, "should_exit", True))
    await server.serve(sockets=[listener])  # type: ignore[list-item] # a socket


def _upstream(url: str) -> Upstream:
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme != "http" or not parts.hostname or not port or parts.query or parts.username:
        what = f'"{url}" is no address of a server.'
        raise LadingError(
            Problem(rule="usage", what=what, origin=Origin("URL"), instead="Write http://HOST:PORT, with a path if there is one.")
        )
    return Upstream(parts.hostname, port, parts.path.rstrip("/").encode())
