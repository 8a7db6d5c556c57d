"""A prediction's output on standard output or in files, as Cog writes it."""

from __future__ import annotations

import base64
import json
import mimetypes
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from lading.cli.output import Output
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

if TYPE_CHECKING:
    from lading.model.service import ServedApi

_DATA_URL = re.compile(r"data:(?P<mime>[\w.+-]+/[\w.+-]+)(;[\w.-]+=[^;,]*)*(?P<base64>;base64)?,")


class Pieces:
    """Shows texts that are meant to be joined (``ConcatenateIterator``) as the model yields them."""

    def __init__(self, served: ServedApi, output: Output) -> None:
        self._joined, self._output, self._shown = is_joined(served), output, False

    def show(self, piece: bytes) -> None:
        """One piece, as JSON."""
        if self._joined:
            if not self._shown:
                self._output.pause()
            self._shown = True
            sys.stdout.write(str(json.loads(piece)))
            sys.stdout.flush()

    def end(self) -> bool:
        """End the line; whether anything was shown."""
        if self._shown:
            self._output.data("")
        return self._shown


def is_joined(served: ServedApi) -> bool:
    """Whether the pieces of an output are one text."""
    declared = (served.worker.signature or {}).get("output") or {}
    return bool(declared.get("concatenate"))


def write_output(result: Any, path: str | None, output: Output, *, joined: bool = False) -> None:
    """Write a successful result: files to files, text and JSON to standard output or to ``path``; ``joined`` pieces as one text.

    A file output without ``-o`` becomes ``output.<suffix>`` in the current folder (several: ``output.0.png``, ``output.1.png``).
    """
    if result.body is not None:
        _write_bytes(result.body, path, output)
    elif joined and isinstance(result.output, list):
        _write_value("".join(map(str, result.output)), path, output)
    else:
        _write_value(result.output, path, output)


def write_training(value: Any, path: str, output: Output) -> None:
    """Write what a training gave: its file to ``path``; of a record, the first file there, others beside it under their names.

    The record itself goes to standard output, with the files' places in it.
    """
    if not isinstance(value, dict):
        _write_value(value, path if _data_urls(value) else None, output)
        return
    shown, first = {}, True
    for name, item in value.items():
        found = _decode(item) if isinstance(item, str) else None
        shown[name] = item
        if found is not None:
            place = Path(path) if first else Path(path).with_name(f"{name}{found[1]}")
            first = False
            _write_file(place, found[0], output)
            shown[name] = str(place)
    output.data(json.dumps(shown, indent=2, ensure_ascii=False))


def _write_value(value: Any, path: str | None, output: Output) -> None:
    files = _data_urls(value)
    if files is None:
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        if path:
            _write_file(Path(path), (text + "\n").encode("utf-8", "backslashreplace"), output)
        else:
            output.data(text)
        return
    for number, (content, suffix) in enumerate(files):
        place = Path(path) if path else Path(f"output{suffix}")
        if len(files) > 1:
            place = place.with_name(f"{place.stem}.{number}{place.suffix or suffix}")
        _write_file(place, content, output)
        output.data(str(place))


def _write_bytes(body: bytes, path: str | None, output: Output) -> None:
    if path:
        _write_file(Path(path), body, output)
        return
    if sys.stdout.isatty() and _is_binary(body):
        raise LadingError(
            Problem(
                rule="output-binary",
                what=f"The answer is {len(body)} bytes that are no text.",
                instead="Write them to a file with -o PATH.",
            )
        )
    sys.stdout.buffer.write(body + (b"" if body.endswith(b"\n") or _is_binary(body) else b"\n"))
    sys.stdout.flush()


def _is_binary(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return True
    return b"\0" in body


def _write_file(path: Path, content: bytes, output: Output) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(path, content)
    except OSError as error:
        raise LadingError(
            Problem(
                rule="output-not-written",
                what=f"{path} cannot be written: {error.strerror}.",
                origin=Origin("-o"),
                instead="Name a file in a folder that you may write to.",
            )
        ) from error
    output.say(f"Wrote {path} ({len(content)} bytes).")


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; what is there and is no file (a device, a pipe) is written to as it is."""
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    target = path.resolve()
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        aside.write_bytes(content)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def _data_urls(value: Any) -> list[tuple[bytes, str]] | None:
    """The files in an output that is a data URL or a list of them, with their suffixes; None for any other output."""
    values = value if isinstance(value, list) else [value]
    files = [_decode(one) if isinstance(one, str) else None for one in values]
    return [one for one in files if one is not None] if files and None not in files else None


def _decode(text: str) -> tuple[bytes, str] | None:
    """The content and the suffix of a data URL; None for any other text, such as a sentence that begins with ``data:``."""
    found = _DATA_URL.match(text)
    if found is None:
        return None
    data = text[found.end() :]
    try:
        content = base64.b64decode(data, validate=True) if found["base64"] else unquote_to_bytes(data)
    except ValueError:
        return None
    return content, mimetypes.guess_extension(found["mime"]) or ""
