"""File outputs put where the operator says (``serve --upload-url``), so that an answer carries addresses instead of the files.

As coglet 0.23.1 does: one ``PUT`` to ``URL/NAME`` for each file, with ``X-Prediction-ID``, 25 seconds for each step; the output is
the ``Location`` of the answer, without its query, or else the URL that was put to. Unlike there, files inside of objects are uploaded,
too, and two files of one name in one output do not overwrite each other.
"""

import io
import os

_SECONDS = 25
_REDIRECTS = (307, 308)
_MOST_REDIRECTS = 5


class Uploads:
    """Uploads the files of one prediction. ``head`` is PREDICT's: it has the prediction's ``id`` and its ``trace`` headers.

    Raises:
        ValueError: from its methods, with a sentence that names the file and what went wrong.
    """

    def __init__(self, url, head):
        self._url = url.rstrip("/") + "/"
        self._headers = dict(head.get("trace") or {})
        if head.get("id"):
            self._headers["X-Prediction-ID"] = _header(head["id"])
        self._names = set()

    def path(self, path, kind):
        """Upload a file of the disk; returns its URL. ``kind`` is its media type."""
        with open(path, "rb") as file:
            return self._put(file, os.fstat(file.fileno()).st_size, path, kind)

    def content(self, content, name, kind):
        """Upload bytes; returns their URL."""
        return self._put(io.BytesIO(content), len(content), name, kind)

    def _put(self, file, size, name, kind):
        from urllib.parse import quote, urljoin

        name = self._free_name(os.path.basename(os.fsdecode(name)) or "file")
        url = self._url + quote(name)
        for _ in range(_MOST_REDIRECTS + 1):
            status, location = self._send(url, file, size, kind, name)
            if status not in _REDIRECTS or not location:
                break
            url = urljoin(url, location)
            file.seek(0)
        if not 200 <= status < 300:
            raise ValueError(f"the file {name} cannot be uploaded: the server answered {status}")
        return (urljoin(url, location) if location else url).partition("?")[0]

    def _free_name(self, name):
        stem, ending = os.path.splitext(name)
        number = 0
        while name in self._names:
            number += 1
            name = f"{stem}-{number}{ending}"
        self._names.add(name)
        return name

    def _send(self, url, file, size, kind, name):
        from http import client
        from urllib.parse import urlsplit

        parts = urlsplit(url)
        kinds = {"http": client.HTTPConnection, "https": getattr(client, "HTTPSConnection", None)}
        if not kinds.get(parts.scheme):
            raise ValueError(f"the file {name} cannot be uploaded: {parts.scheme or url} is no scheme to upload to")
        headers = dict(self._headers, **{"Content-Type": kind, "Content-Length": str(size), "User-Agent": "lading"})
        try:
            connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=_SECONDS)
            try:
                connection.request("PUT", (parts.path or "/") + ("?" + parts.query if parts.query else ""), file, headers)
                answer = connection.getresponse()
                answer.read()
                return answer.status, answer.getheader("Location")
            finally:
                connection.close()
        except (OSError, client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ValueError(f"the file {name} cannot be uploaded: {reason}") from None


def _header(text):
    """An id in a header: it is the client's, and may hold anything."""
    from urllib.parse import quote

    return text if all(" " < letter <= "~" for letter in text) else quote(text, safe="")
