"""Addresses of Ray clusters: which of them lead to the one that a process is connected to. Ray has one connection in a process."""

from __future__ import annotations

import socket
from collections.abc import Collection
from ipaddress import ip_address

from lading.model.problems import ExitCode, LadingError, Problem

AUTO = "auto"
"""Ray's word for the cluster that it finds by itself."""
CLIENT = "ray://"
"""How addresses begin that are reached from outside of a cluster."""


def require_connected(address: str, own: str, reached: Collection[str]) -> None:
    """Refuse an address of a cluster that this process is not connected to.

    ``own`` is the address of the head's store of the one that it is connected to, ``reached`` are those that Lading reached it at: none where
    the connection is somebody else's.

    Raises:
        LadingError: if it is another one's, or nobody can know.
    """
    if address == AUTO:
        # Ray means by it the cluster that it is connected to, or this machine's, which one that was reached from outside need not be.
        known = not reached or any(not one.startswith(CLIENT) for one in reached)
    else:
        known = any(_are_same(address, one) for one in (own, *reached))
    if not known:
        shown = "this machine's" if address == AUTO else address
        raise LadingError(
            Problem(
                rule="ray-other-cluster",
                what=f"This process is connected to the Ray cluster at {own}, and {shown} is another one.",
                why="Ray connects a process to one cluster at a time.",
                instead="Use a process for each, or call ray.shutdown() between them.",
                code=ExitCode.USAGE,
            )
        )


def _are_same(one: str, other: str) -> bool:
    if one == other:
        return True
    if one.startswith(CLIENT) != other.startswith(CLIENT):
        return False
    (host, port), (other_host, other_port) = _parts(one), _parts(other)
    return port == other_port and not _addresses(host).isdisjoint(_addresses(other_host))


def _parts(address: str) -> tuple[str, str]:
    host, _colon, port = address.removeprefix(CLIENT).rstrip("/").rpartition(":")
    return host.strip("[]"), port


def _addresses(host: str) -> set[str]:
    """What a host's name stands for; this machine has the addresses of its name as well as its own of the loopback."""
    found = _resolved(host)
    return found | _resolved(socket.gethostname()) if any(ip_address(one).is_loopback for one in found) else found


def _resolved(host: str) -> set[str]:
    try:
        return {str(found[4][0]).partition("%")[0] for found in socket.getaddrinfo(host, None)}
    except OSError:
        return set()
