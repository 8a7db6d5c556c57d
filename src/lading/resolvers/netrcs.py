"""Credentials from a netrc, which is where uv and git look as well."""

from __future__ import annotations

import os
from collections.abc import Mapping


def from_netrc(host: str, environ: Mapping[str, str] = os.environ) -> tuple[str, str, str] | None:
    """The credentials for a host (login, account, password): from ``NETRC``, or ``~/.netrc``; None where there are none.

    Whoever else may read the file, it is taken, as uv and git do.
    """
    import netrc  # noqa: PLC0415 -- on the way to private indexes

    try:
        return netrc.netrc(environ.get("NETRC") or os.path.expanduser("~/.netrc")).authenticators(host)  # noqa: PTH111 -- a Path has no home where users have no name
    except (OSError, netrc.NetrcParseError):
        return None
