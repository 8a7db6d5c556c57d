"""One request to a server, with credentials that stay with it."""

from __future__ import annotations

import http.client
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

AUTHORIZATION = "Authorization"
FAILURES = (OSError, ValueError, http.client.HTTPException)
"""What asking can fail with: no connection, no address, no HTTP. An answer with an error status is `urllib.error.HTTPError`, an OSError."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but shows the credentials of one host to no other."""

    def redirect_request(self, req: urllib.request.Request, *answer: Any) -> urllib.request.Request | None:
        """The request to make next."""
        following = super().redirect_request(req, *answer)
        credentials = req.unredirected_hdrs.get(AUTHORIZATION)
        if following is not None and credentials and urlsplit(following.full_url)[:2] == urlsplit(req.full_url)[:2]:
            following.add_unredirected_header(AUTHORIZATION, credentials)
        return following


def opener(*handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    """What opens addresses and follows redirections; credentials that are an unredirected header go along to the same server alone."""
    return urllib.request.build_opener(_Redirects, *handlers)


_OPENER = opener()


def ask(url: str, headers: Mapping[str, str], *, timeout: float, method: str = "GET") -> Any:
    """Open an ``http`` or ``https`` address; the answer is to be used as a context.

    Raises:
        OSError: if there is no answer, or one with an error status (`urllib.error.HTTPError`).
        ValueError: if this is no such address.
        http.client.HTTPException: if the answer is no HTTP.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"{urlsplit(url).scheme or 'no scheme'} is no way to ask an index")
    request = urllib.request.Request(url, method=method)  # noqa: S310  (the scheme is checked above)
    for name, value in headers.items():
        if name == AUTHORIZATION:
            request.add_unredirected_header(name, value)
        else:
            request.add_header(name, value)
    return _OPENER.open(request, timeout=timeout)
