"""``base.lock``: what the tags of base images stood for when a project's image was first built, so that it stays that.

A tag as ``python:3.11-slim`` is moved to newer images; a digest is not. The file lies beside the other locks, holds nothing of a machine,
and stays as it is until somebody asks for newer bases.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping

from lading.model.digests import is_sha256
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem

NAME = "base.lock"
_VERSION = 1
_HEADER = """\
# The base images that the tags stood for when this project's image was first built. Made by Lading.
# Keep this file with the project; `lading build --upgrade-base` takes what they stand for today.

"""


def write_bases(digests: Mapping[str, str]) -> str:
    """The lock as TOML: for each image's whole name (``docker.io/library/python:3.11-slim``) the digest of its manifest or index."""
    lines = "".join(f'"{name}" = "{digest}"\n' for name, digest in sorted(digests.items()))
    return f"{_HEADER}version = {_VERSION}\n\n[bases]\n{lines}"


def read_bases(text: str, path: str) -> dict[str, str]:
    """The inverse of `write_bases`; ``path`` is the file's name, for messages.

    Raises:
        LadingError: if it is damaged, or of a newer version of Lading.
    """
    try:
        record = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise LadingError(_damaged(path, f"It is not valid TOML: {error}.")) from error
    if record.get("version") != _VERSION:
        raise LadingError(_damaged(path, f"Its version is {record.get('version')!r}, and this version of Lading reads {_VERSION}."))
    found = record.get("bases", {})
    wrong = [name for name, digest in found.items() if not is_sha256(str(digest))] if isinstance(found, dict) else ["bases"]
    if wrong:
        raise LadingError(_damaged(path, f"What it says of {wrong[0]} is no digest."))
    return {name: str(digest) for name, digest in found.items()}


def _damaged(path: str, why: str) -> Problem:
    return Problem(
        rule="lock-damaged",
        what=f"{path} cannot be read as a lock file.",
        origin=Origin(path),
        why=why,
        instead="Take the file from version control again, or delete it and run `lading build`.",
        code=ExitCode.LOCK,
    )
