"""HTTP for weights: large files that go on where a connection broke, credentials for the server that they are for alone."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
import urllib.error
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit
from urllib.response import addinfourl

from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.secrets import redact_urls
from lading.resolvers.asking import AUTHORIZATION, ask
from lading.resolvers.netrcs import from_netrc
from lading.weights.store import Part

_PIECE = 1 << 20
_TRIES = 5
_SECONDS = 60
_BUSY = (408, 425, 429, 500, 502, 503, 504)

Heard = Callable[[int], None]
_T = TypeVar("_T")


class Web:
    """Requests to servers that have weights. ``environ`` says where a netrc is (``NETRC``); ``origin`` is the line that errors name."""

    def __init__(self, environ: Mapping[str, str], origin: Origin, *, offline: bool = False) -> None:
        self._environ, self._origin, self._offline = environ, origin, offline

    def json(self, url: str, token: str | None = None) -> tuple[Any, Mapping[str, str]]:
        """A JSON document, and the headers that came with it (names in small letters).

        Raises:
            LadingError: if it is not to be had, or is no JSON.
        """
        answer = self._try(lambda: self._whole(url, token), url)
        try:
            return json.loads(answer[0]), answer[1]
        except ValueError as error:
            raise LadingError(self._problem("weights-unreachable", url, "it answered with something else than JSON")) from error

    def _whole(self, url: str, token: str | None) -> tuple[bytes, dict[str, str]]:
        with self._open(url, token, {}) as answer:
            return answer.read(), {name.lower(): value for name, value in answer.headers.items()}

    def download(self, url: str, part: Part, token: str | None = None, heard: Heard = lambda _count: None) -> None:
        """Append what is missing of a file; ``part.tag`` is its ETag then, empty where the server states none that can be relied on.

        Raises:
            LadingError: if it is not to be had.
        """
        self._try(lambda: self._receive(url, part, token, heard), url)

    def _receive(self, url: str, part: Part, token: str | None, heard: Heard) -> None:
        if part.done and not part.can_go_on:
            part.begin_again()
        headers = {"Range": f"bytes={part.done}-"} if part.done else {}
        if part.done and part.tag:
            headers["If-Range"] = part.tag
        try:
            answer = self._open(url, token, headers)
        except urllib.error.HTTPError as error:
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not part.done:
                raise
            error.close()
            part.begin_again()
            raise ConnectionError("it has another size than before") from error
        with answer:
            if answer.status != http.HTTPStatus.PARTIAL_CONTENT and part.done:
                part.begin_again()
            etag = answer.headers.get("ETag") or ""
            part.tagged("" if etag.startswith("W/") else etag)
            length = answer.headers.get("Content-Length")
            part.total = part.done + int(length) if length else None
            while piece := answer.read1(_PIECE):  # what is there: on a slow line a whole piece takes long
                part.add(piece)
                heard(len(piece))
            if part.total is not None and part.done < part.total:
                raise ConnectionError("the connection was closed before all of it had come")

    def _try(self, once: Callable[[], _T], url: str) -> _T:
        if self._offline:
            raise LadingError(self._problem("offline-not-cached", url, "--offline forbids to fetch it", "Run once without --offline."))
        for attempt in range(_TRIES):
            last = attempt == _TRIES - 1
            try:
                return once()
            except urllib.error.HTTPError as error:
                error.close()
                if error.code not in _BUSY or last:
                    raise LadingError(self._refused(url, error.code)) from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason = getattr(error, "reason", None) or error
                if last or isinstance(reason, ssl.SSLCertVerificationError) or isinstance(error, ValueError):
                    raise LadingError(self._problem("weights-unreachable", url, _said(reason))) from error
            time.sleep(min(0.3 * 2.0**attempt, 5.0))
        raise AssertionError("unreachable")

    def _open(self, url: str, token: str | None, headers: Mapping[str, str]) -> addinfourl:
        """A credential goes along to a redirect on its own server, as the hub's small files need, and nowhere else."""
        login = f"Bearer {token}" if token else self._login(url)
        sent = {"User-Agent": "lading", "Accept-Encoding": "identity", **headers, **({AUTHORIZATION: login} if login else {})}
        return cast("addinfourl", ask(url, sent, timeout=_SECONDS))

    def _login(self, url: str) -> str | None:
        entry = from_netrc(urlsplit(url).hostname or "", self._environ)
        return "Basic " + base64.b64encode(f"{entry[0]}:{entry[2] or ''}".encode()).decode() if entry else None

    def _refused(self, url: str, status: int) -> Problem:
        if status in (401, 403):
            fix = "For Hugging Face's hub set HF_TOKEN, and accept the model's terms there; elsewhere give a netrc: --secret id=netrc,src=FILE."
            return self._problem("weights-refused", url, f"the server answered {status}", fix)
        return self._problem(
            "weights-unreachable", url, f"the server answered {status}", "Check the address, and that the file is still there."
        )

    def _problem(self, rule: str, url: str, why: str, fix: str = "Check the network, and try again; what has come is kept.") -> Problem:
        return Problem(
            rule=rule,
            what=f"The weights at {redact_urls(url)} cannot be had: {why}.",
            origin=self._origin,
            instead=fix,
            code=ExitCode.NETWORK,
        )


def _said(reason: object) -> str:
    """Why there was no answer, in the system's words without its number."""
    plain = reason.strerror if isinstance(reason, OSError) and not isinstance(reason, ssl.SSLError) else None
    return redact_urls(str(plain or reason))
