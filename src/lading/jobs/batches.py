"""The items of a job in batches: from a list, from the names of files, from files of one JSON value a line."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO, cast

from lading.jobs.store import Item

_PARTS = re.compile(r"\*\*|\*|\?|\[[^\]]*\]|\{|\}|,|\\.|.", re.DOTALL)


class ListingError(ValueError):
    """Files that a job names cannot be listed or read; the message is for the client."""


def in_batches(texts: Iterable[str], size: int) -> Iterator[Item]:
    """Items as payloads: JSON lists of ``size`` values each."""
    batch: list[str] = []
    number = 0
    for text in texts:
        batch.append(text)
        if len(batch) == size:
            yield _item(number, batch)
            batch, number = [], number + 1
    if batch:
        yield _item(number, batch)


def _item(number: int, batch: Sequence[str]) -> Item:
    return Item(number=number, payload=f"[{','.join(batch)}]".encode(), key=None)


def list_files(paths: Sequence[str], includes: Sequence[str], excludes: Sequence[str], root: Path) -> Iterator[str]:
    """Every file below the paths (prefixes, as S3 has them), those that fit ``includes``, without those that fit ``excludes``.

    Raises:
        ListingError: if a place cannot be reached.
    """
    for path in paths:
        for file in _files(path, root):
            if (not includes or any(fits(pattern, file) for pattern in includes)) and not any(fits(one, file) for one in excludes):
                yield file


def _files(path: str, root: Path) -> Iterator[str]:
    local = _local(path, root)
    if local is None:
        scheme = path.partition("://")[0]
        system = _system(scheme, path)
        folder = path.rpartition("/")[0] if not path.endswith("/") else path.rstrip("/")
        try:
            names = sorted(system.find(folder) or system.find(path))
        except OSError as error:
            raise ListingError(f"{path} cannot be listed: {error}") from error
        yield from (name for name in (f"{scheme}://{one.removeprefix(f'{scheme}://')}" for one in names) if name.startswith(path))
        return
    if local.is_dir():
        yield from (str(one) for one in sorted(local.rglob("*")) if one.is_file())
    elif local.is_file():
        yield str(local)
    elif local.parent.is_dir():
        yield from (str(one) for one in sorted(local.parent.rglob("*")) if one.is_file() and str(one).startswith(str(local)))


def _local(path: str, root: Path) -> Path | None:
    if path.startswith("file://"):
        return Path(path.removeprefix("file://"))
    return None if "://" in path else root / path


def _system(scheme: str, path: str) -> Any:
    try:
        return importlib.import_module("fsspec").filesystem(scheme, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise ListingError(f"{path} cannot be reached: {error}. Install fsspec, with s3fs or gcsfs, beside Lading.") from error


def open_file(path: str) -> TextIO:
    """A listed file as text.

    Raises:
        ListingError: if it cannot be read.
    """
    try:
        if "://" not in path:
            return Path(path).open(encoding="utf-8")
        return cast("TextIO", _system(path.partition("://")[0], path).open(path, "r", encoding="utf-8"))
    except OSError as error:
        raise ListingError(f"{path} cannot be read: {error}") from error


def lines_of(files: Iterable[str]) -> Iterator[str]:
    """The JSON values of files that have one on each line.

    Raises:
        ListingError: for a line that is no JSON, with its place.
    """
    for file in files:
        with open_file(file) as stream:
            try:
                for number, line in enumerate(stream, 1):
                    text = line.strip()
                    if text:
                        _check(text, file, number)
                        yield text
            except UnicodeDecodeError as error:
                raise ListingError(f"{file} is not UTF-8") from error


def _check(text: str, file: str, line: int) -> None:
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ListingError(f"{file}, line {line}: no valid JSON: {error}") from error


def fits(pattern: str, path: str) -> bool:
    """Whether a path fits a glob: ``*`` and ``?`` stay within a folder, ``**`` does not, ``{a,b}`` and ``[ab]`` are alternatives."""
    return _glob(pattern).fullmatch(path) is not None


@lru_cache(maxsize=256)
def _glob(pattern: str) -> re.Pattern[str]:
    depth, parts = 0, []
    for part in _PARTS.findall(pattern):
        if part == "{":
            depth += 1
            parts.append("(?:")
        elif part == "}" and depth:
            depth -= 1
            parts.append(")")
        elif part == "," and depth:
            parts.append("|")
        elif part in ("*", "**", "?"):
            parts.append({"*": "[^/]*", "**": ".*", "?": "[^/]"}[part])
        elif part.startswith("[") and len(part) > 2:
            parts.append("[" + part[1:-1].replace("!", "^", 1 if part[1] == "!" else 0) + "]")
        else:
            parts.append(re.escape(part.removeprefix("\\") or part))
    try:
        return re.compile("".join(parts) + ")" * depth, re.DOTALL)
    except re.error:
        return re.compile(re.escape(pattern))
