"""``Prefer`` (RFC 7240): whether a client wants its answer at once, and how long it would rather wait first."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lading.service.asgi import Request

_LONGEST_WAIT = 60.0  # seconds
_PREFERENCE = re.compile(r'\s*([\w-]+)\s*(?:=\s*"?([^",;]*)"?)?')


@dataclass(frozen=True, slots=True)
class Preferences:
    """``respond_async``: answer 202 if the prediction is not done within ``wait`` seconds."""

    respond_async: bool = False
    wait: float = 0.0

    @property
    def applied(self) -> bytes:
        """The value of ``Preference-Applied``."""
        return b"respond-async" + (b", wait=%d" % self.wait if self.wait else b"")


NONE = Preferences()


def preferences(request: Request) -> Preferences:
    """What the request prefers. Other preferences beside ours are passed over, as the RFC says; of one given twice the first counts."""
    if b"prefer" not in request.headers:
        return NONE
    given: dict[str, str] = {}
    for text in request.header_list(b"prefer", keep_parameters=True):
        found = _PREFERENCE.match(text)
        if found is not None:
            given.setdefault(found[1], (found[2] or "").strip())
    wait = given.get("wait", "")
    seconds = min(float(wait), _LONGEST_WAIT) if wait.isascii() and wait.isdigit() and len(wait) < 10 else 0.0
    return Preferences("respond-async" in given, seconds)
