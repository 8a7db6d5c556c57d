"""Ports on loopback for servers of tests, and for tests whose server is gone."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import socket

_FIRST, _COUNT, _SHARES = 20_000, 10_000, 4
"""Below the ports that systems give out to whoever asks for any (Linux: from 32,768 on), and those that Ray and Kubernetes take in tests."""


def _own() -> list[int]:
    """The ports of this process, from one of them on: those that run tests beside each other (pytest-xdist) have different ones."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(_FIRST + worker % _SHARES, _FIRST + _COUNT, _SHARES)
    start = secrets.randbelow(len(ports))
    return [*ports[start:], *ports[:start]]


_ports = itertools.cycle(_own())


def free_port() -> int:
    """A port that nobody listens on, and that stays free: the system gives it to nobody else, nor does this for a long time."""
    while True:
        port = next(_ports)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port
