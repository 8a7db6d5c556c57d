"""Credentials from a netrc, which is where uv and git look as well."""

from __future__ import annotations

import os


def from_netrc(host: str) -> tuple[str, str, str] | None:
    """The credentials for a host (login, account, password): from ``NETRC``, or ``~/.netrc``; None where there are none."""
    import netrc  # noqa: PLC0415 -- on the way to private indexes

    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return None
