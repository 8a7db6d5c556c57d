"""No secret in an image: its layers, its configuration and its manifest are searched for every value that this build was given."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from lading.images.media import Image, Kind, Layer
from lading.images.store import Store
from lading.images.unpacked import open_entries, uncompressed
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.secrets import MASK, Secret, SecretUrl

_LEAST = 6
"""Shorter values would be found by chance."""
_USERINFO = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^\s/'\"<>@:${}]+:[^\s/'\"<>@${}]+@[A-Za-z0-9]")


def values_of(secrets: Iterable[Secret], environ: Mapping[str, str]) -> dict[bytes, str]:
    """Each spelling of each secret value that this run knows, with a name for it that may be shown."""
    found: dict[bytes, str] = {}
    for secret in secrets:
        for text in _texts(secret):
            found |= _spellings(text, str(secret))
    for name in environ:
        if name.endswith(("_PASSWORD", "_TOKEN", "_SECRET", "_KEY")) and name.startswith(
            ("UV_", "PIP_", "HF_", "GITHUB_", "GH_", "AWS_", "NPM_", "COG_", "TWINE_")
        ):
            found |= _spellings(environ[name], f"${{{name}}}")
    return found


def _texts(secret: Secret) -> list[str]:
    return [secret.password_or_token or "", *secret.secret_variables()] if isinstance(secret, SecretUrl) else [secret.reveal()]


def _spellings(text: str, name: str) -> dict[bytes, str]:
    if len(text) < _LEAST or text == MASK:
        return {}
    return {text.encode(): name, quote(text, safe="").encode(): name}


def has_userinfo(content: bytes) -> bool:
    """Whether a text holds a URL with a password."""
    return bool(_passwords(content))


def _passwords(content: bytes) -> list[bytes]:
    """The beginnings of URLs that have a password, but for those that are masked."""
    return [found for found in _USERINFO.findall(content) if f":{MASK}@".encode() not in found]


def scan(image: Image, values: Mapping[bytes, str], store: Store, base: bytes = b"") -> None:
    """Search a finished image, its base aside, for secret values. A layer that was found clean of the same values is not read again.

    The configuration and the manifest may hold no URL with a password either, but for those of ``base``, the base's configuration.

    Raises:
        LadingError: naming the secret (never its value), the layer and the file.
    """
    for content, place in ((image.config, "its configuration"), (image.manifest, "its manifest")):
        if set(_passwords(content)) - set(_passwords(base)):
            raise LadingError(_leak("a URL with a password", place))
        for value, name in values.items():
            if value in content:
                raise LadingError(_leak(name, place))
    if not values:
        return
    mark = _mark(values, store.root)
    own = [layer for layer in image.layers if layer.kind is not Kind.BASE]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(lambda layer: _scan_layer(image, layer, values, store, mark), own))


def _scan_layer(image: Image, layer: Layer, values: Mapping[bytes, str], store: Store, mark: bytes) -> None:
    key = hmac.new(mark, layer.diff_id.encode(), hashlib.sha256).hexdigest()
    if store.note("scanned", key) is not None:
        return
    longest = max(map(len, values))
    tail = b""
    for piece in uncompressed(image.blobs, layer.descriptor):
        data = tail + piece
        for value, name in values.items():
            if value in data:
                raise LadingError(_leak(name, _where(image, layer, value)))
        tail = data[-longest:]
    store.keep_note("scanned", key, True)


def _where(image: Image, layer: Layer, value: bytes) -> str:
    with open_entries(image.blobs, layer.descriptor) as archive:
        for entry in archive:
            content = archive.extractfile(entry) if entry.isfile() else None
            if content is not None and value in content.read():
                return f"/{entry.name} (layer: {layer.title})"
    return f"the layer {layer.title}"


def _mark(values: Mapping[bytes, str], root: Path) -> bytes:
    """What says "clean of these values" without telling anything about them: keyed with a file that only this user reads."""
    place = root / "scan.key"
    if not place.exists():
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as stream:
            stream.write(os.urandom(32))
    return hmac.new(place.read_bytes(), b"\0".join(sorted(values)), hashlib.sha256).digest()


def _leak(name: str, place: str) -> Problem:
    return Problem(
        rule="secret-in-image",
        what=f"The image would hold a secret: the value of {name} is in {place}.",
        why="Everybody who gets an image can read all of its layers; nothing was published.",
        instead="Remove it from the file, or name the file in .dockerignore; give the value when the container starts: -e NAME=VALUE.",
        code=ExitCode.BUILD,
    )


def files_with_secrets(root: Path, paths: Sequence[str], values: Mapping[bytes, str]) -> list[str]:
    """Which of the project's dependency files hold credentials: the image does not need them."""
    found = []
    for path in paths:
        try:
            content = (root / path).read_bytes()
        except OSError:
            continue
        if has_userinfo(content) or any(value in content for value in values):
            found.append(path)
    return found
