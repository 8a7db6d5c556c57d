"""A change to a file as a value: shown as a diff before it is written, and tried on a copy of the project before that."""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Iterable

from lading.formats._text import decode
from lading.model.files import ProjectFiles
from lading.model.records import dataclass
from lading.model.secrets import redact_urls

_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CODING = re.compile(rb"#.*coding[:=]\s*([-\w.]+)")
_ENCODINGS = ("utf-8", "utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A file's content before (None: it is new) and after. ``path`` is relative to the project's root."""

    path: str
    before: bytes | None
    after: bytes

    @property
    def diff(self) -> str:
        """The change as a unified diff, credentials masked."""
        old = _shown(self.path, self.before or b"")
        new = _shown(self.path, self.after)
        return "".join(_lines(old, new, "/dev/null" if self.before is None else f"a/{self.path}", f"b/{self.path}"))


def _shown(path: str, content: bytes) -> list[str]:
    return [redact_urls(line) for line in decode(path, content, coding_line=True).replace("\r\n", "\n").splitlines(keepends=True)]


def _lines(old: list[str], new: list[str], old_name: str, new_name: str) -> Iterable[str]:
    for line in difflib.unified_diff(old, new, old_name, new_name):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


@dataclass(frozen=True, slots=True)
class Text:
    """A file's text with what is needed to write it back as it was: its byte order mark and encoding. Line ends are in the text."""

    path: str
    text: str
    mark: bytes = b""
    encoding: str = "utf-8"

    @classmethod
    def of(cls, path: str, content: bytes) -> Text:
        """Decode a file's content.

        Raises:
            LadingError: if its bytes are not the text that they say they are.
        """
        text = decode(path, content, coding_line=True)
        for mark, encoding in zip(_MARKS, _ENCODINGS, strict=True):
            if content.startswith(mark):
                return cls(path, text, mark, encoding)
        declared = _CODING.search(content.partition(b"\n")[0]) or _CODING.search(b"".join(content.split(b"\n")[1:2]))
        for encoding in (*([declared[1].decode("ascii", "replace")] if declared else []), "utf-8"):
            if _same(text, encoding, content):
                return cls(path, text, b"", encoding)
        return cls(path, text)

    def changed(self, text: str, content: bytes | None) -> Change:
        """The change of this file to another text."""
        return Change(path=self.path, before=content, after=self.mark + text.encode(self.encoding))

    @property
    def newline(self) -> str:
        """The line end that the file uses."""
        return "\r\n" if "\r\n" in self.text else "\n"


def _same(text: str, encoding: str, content: bytes) -> bool:
    try:
        return text.encode(encoding) == content
    except (UnicodeEncodeError, LookupError):
        return False


class Overlay:
    """`ProjectFiles` with some changes made: to see what a project would be after them."""

    def __init__(self, files: ProjectFiles, changes: Iterable[Change]) -> None:
        self._files = files
        self._changed = {change.path: change.after for change in changes}

    def read(self, path: str) -> bytes | None:
        """See `ProjectFiles`."""
        return self._changed[path] if path in self._changed else self._files.read(path)

    def entries(self, folder: str = "") -> tuple[str, ...]:
        """See `ProjectFiles`."""
        prefix = folder.rstrip("/") + "/" if folder else ""
        new = {path[len(prefix) :] for path in self._changed if path.startswith(prefix) and "/" not in path[len(prefix) :]}
        return tuple(sorted({*self._files.entries(folder), *new}))

    def is_folder(self, path: str) -> bool:
        """See `ProjectFiles`."""
        return self._files.is_folder(path)
