"""Where Lading keeps what it builds. Imports nothing but ``os``: a command with nothing to do goes through here."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing's own constant, without importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lading.model.problems import LadingError

ENVIRONMENTS = "envs"
STAMPS = "stamps"
LISTINGS = "listings"


def home(environ: Mapping[str, str] | None = None) -> str:
    """The store's folder, absolute: ``LADING_HOME``, else ``lading`` in the platform's cache folder.

    That is ``XDG_CACHE_HOME`` or ``~/.cache``, and ``~/Library/Caches`` on macOS. The folder need not exist. A relative
    ``XDG_CACHE_HOME`` is ignored, as the XDG base directory specification asks.
    """
    variables: Mapping[str, str] = os.environ if environ is None else environ
    named = variables.get("LADING_HOME")
    if named:
        return os.path.abspath(os.path.expanduser(named))
    user = variables.get("HOME") or os.path.expanduser("~")
    if sys.platform == "darwin":
        return os.path.join(user, "Library", "Caches", "lading")
    cache = variables.get("XDG_CACHE_HOME", "")
    return os.path.join(cache if os.path.isabs(cache) else os.path.join(user, ".cache"), "lading")


def require_writable(environ: Mapping[str, str] | None = None) -> str:
    """The store's folder, made if it was not there, and proven to take files.

    Raises:
        LadingError: if it cannot be made or written.
    """
    folder = home(environ)
    probe = os.path.join(folder, f".probe-{os.getpid()}")
    try:
        os.makedirs(folder, mode=0o755, exist_ok=True)
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600))
        os.unlink(probe)
    except OSError as error:
        raise unusable(folder, error) from error
    return folder


def unusable(folder: str, error: OSError) -> LadingError:
    """The error to raise when the store cannot be written: where it is, what the system said, how to move it."""
    import errno  # noqa: PLC0415 -- only on the way out

    from lading.model.origin import Origin  # noqa: PLC0415 -- only on the way out
    from lading.model.problems import ExitCode, LadingError, Problem  # noqa: PLC0415 -- only on the way out

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LadingError(
            Problem(
                rule="disk-full",
                what=f"There is no space left for Lading's store, {folder}.",
                why=os.strerror(error.errno),
                instead="Free some space (`lading env prune` removes unused environments), or set LADING_HOME to a larger disk.",
                code=ExitCode.BUILD,
            )
        )
    return LadingError(
        Problem(
            rule="store-not-writable",
            what=f"Lading's store, {folder}, cannot be written: {error.strerror or error}.",
            origin=Origin("LADING_HOME") if os.environ.get("LADING_HOME") else None,
            why="Environments are built there, once for every project that needs the same.",
            instead="Make the folder writable, or set LADING_HOME to one that is.",
        )
    )
