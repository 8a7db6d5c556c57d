"""The sockets that a server listens on, and what is said when it cannot."""

from __future__ import annotations

import errno
import socket

from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

_BACKLOG = 2048


def bind(host: str, port: int, option: str = "-p") -> socket.socket:
    """A socket that listens there; ``option`` is what said so.

    Raises:
        LadingError: if that is not possible.
    """
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise LadingError(_host_problem(host, error.strerror or str(error))) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise LadingError(_bind_problem(host, port, error, option)) from error
    return listener


def _host_problem(host: str, reason: str) -> Problem:
    return Problem(
        rule="host-unknown",
        what=f'"{host}" is no address of this machine: {reason}.',
        origin=Origin("--host"),
        instead="Use --host 127.0.0.1 for this machine alone, --host 0.0.0.0 for the whole network.",
    )


def _bind_problem(host: str, port: int, error: OSError, option: str) -> Problem:
    if error.errno == errno.EADDRNOTAVAIL:
        return _host_problem(host, error.strerror or "it is not here")
    taken = error.errno == errno.EADDRINUSE
    return Problem(
        rule="port-in-use" if taken else "port-not-allowed",
        what=f"Port {port} on {host} is in use." if taken else f"Port {port} on {host} cannot be used: {error.strerror}.",
        origin=Origin(option),
        why="Another program listens there, perhaps another `lading serve`." if taken else None,
        instead=f"Choose another port: {option} {port + 1 if 1024 <= port < 65535 else 5001}, or {option} 0 for any free one.",
    )


def address_of(listener: socket.socket) -> str:
    """The URL of what listens there."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"
