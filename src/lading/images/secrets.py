"""No secret in an image: its layers, its configuration and its manifest are searched for every value that this build was given."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, unquote

from lading.images.media import Image, Kind, Layer
from lading.images.store import Store
from lading.images.unpacked import open_entries, uncompressed
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.secrets import MASK, Secret, SecretUrl

_LEAST = 6
"""Shorter values would be found by chance."""
_USERINFO = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^\s/'\"<>@:${}]+:[^\s/'\"<>@${}]+@[A-Za-z0-9]")

_PREFIXES = ("UV_", "PIP_", "HF_", "HUGGING", "GITHUB_", "GH_", "AWS_", "NPM_", "COG_", "TWINE_")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]*")
_URL_LOGIN = re.compile(r"://([^\s/'\"<>@:]+)(?::([^\s/'\"<>@]*))?@")
_NETRC_PASSWORD = re.compile(r"\bpassword[ \t\n]+(\S+)")
_NAMED = re.compile(
    r"""(?im)^[^=:\n]*(?:password|passwd|token|secret|(?:api|access|private)_?key)["']?[ \t]*[=:][ \t]*["']?((?!-----|\$)[^\s"',]+)"""
)
_LONG = re.compile(r"[A-Za-z0-9+/_=.~-]{32,}")
_MARKING = threading.Lock()
_MOST_LONG = 4
"""Long words of one file: those of a key are found together or not at all, and each costs a search of every layer."""


def values_of(secrets: Iterable[Secret], environ: Mapping[str, str], files: Mapping[str, Path]) -> dict[bytes, str]:
    """Each spelling of each secret value that this run knows, with a name for it that may be shown. ``files`` hold some, by their id."""
    found: dict[bytes, str] = {}
    for secret in secrets:
        for text in _texts(secret):
            found |= _spellings(text, str(secret))
    for identifier, secret in secrets_in(files):
        found |= _spellings(secret.reveal(), f"--secret id={identifier}")
    for name in environ:
        if name.endswith(("_PASSWORD", "_TOKEN", "_SECRET", "_KEY")) and name.startswith(_PREFIXES):
            found |= _spellings(environ[name], f"${{{name}}}")
    return found


def secrets_in(files: Mapping[str, Path]) -> list[tuple[str, Secret]]:
    """The secrets in files, with the id of each: a file as a whole, and the values in one that is a netrc, a pip.conf, a key or the like."""
    texts = {identifier: path.read_text(encoding="utf-8", errors="replace").strip() for identifier, path in files.items()}
    return [(identifier, Secret(value)) for identifier, text in texts.items() for value in dict.fromkeys((text, *_parts(text)))]


def _parts(text: str) -> list[str]:
    """What a command that reads a file may write elsewhere: passwords of a netrc and of URLs, values whose names say so, long lines of a key."""
    urls = [unquote(part) for user, password in _URL_LOGIN.findall(text) for part in [password or user]]
    rest = _URL.sub(" ", text.replace("\\n", "\n"))
    long = [word for word in _LONG.findall(rest) if re.search("[0-9]", word) and re.search("[A-Za-z]", word)]
    return [value for value in (*urls, *_NETRC_PASSWORD.findall(rest), *_NAMED.findall(rest), *long[:_MOST_LONG]) if len(value) >= _LEAST]


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
    own = [layer for layer in image.layers if layer.kind is not Kind.BASE]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(lambda layer: scan_layer(layer, values, store), own))


def scan_layer(layer: Layer, values: Mapping[bytes, str], store: Store) -> None:
    """Search a layer of the store for secret values, unless it was found clean of the same ones before.

    Raises:
        LadingError: naming the secret (never its value), the layer and the file.
    """
    if not values:
        return
    key = hmac.new(_mark(values, store.root), layer.diff_id.encode(), hashlib.sha256).hexdigest()
    if store.note("scanned", key) is not None:
        return
    longest = max(map(len, values))
    tail = b""
    for piece in uncompressed(store, layer.descriptor):
        data = tail + piece
        for value, name in values.items():
            if value in data:
                raise LadingError(_leak(name, _where(layer, value, store)))
        tail = data[-longest:]
    store.keep_note("scanned", key, True)


def _where(layer: Layer, value: bytes, store: Store) -> str:
    with open_entries(store, layer.descriptor) as archive:
        for entry in archive:
            content = archive.extractfile(entry) if entry.isfile() else None
            if content is not None and value in content.read():
                return f"/{entry.name} (layer: {layer.title})"
    return f"the layer {layer.title}"


def _mark(values: Mapping[bytes, str], root: Path) -> bytes:
    """What says "clean of these values" without telling anything about them: keyed with a file that only this user reads."""
    place = root / "scan.key"
    with _MARKING:
        if not place.exists():
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as stream:
                stream.write(os.urandom(32))
    return hmac.new(place.read_bytes(), b"\0".join(sorted(values)), hashlib.sha256).digest()


def _leak(name: str, place: str) -> Problem:
    return Problem(
        rule="secret-in-image",
        what=f"The image would hold a secret: the value of {name} is in {place}.",
        why="Everybody who gets an image can read all of its layers; no image was published.",
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
