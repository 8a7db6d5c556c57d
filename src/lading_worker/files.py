"""What ``Path``, ``File`` and ``Secret`` inputs become: local files made of the URLs that a request carries.

As in Cog: ``data:``, ``http://`` and ``https://`` are taken, downloads run eight at a time, and what was downloaded is removed after the
call. Unlike Cog (0.23 hands any other text to the model as it is), a request cannot name a file of the server's machine, nor what
only that machine can reach (`downloads`).
"""

import io
import os
import re
import sys

from lading_worker import inputs
from lading_worker.downloads import Limits, download, shown

_AT_ONCE = 8
_LONGEST_NAME = 200  # bytes, as in Cog; file systems allow 255
_ENDINGS = {
    "application/gzip": ".gz",
    "application/json": ".json",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "audio/flac": ".flac",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "image/gif": ".gif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/svg+xml": ".svg",
    "image/tiff": ".tiff",
    "image/webp": ".webp",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/plain": ".txt",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
}


class InputFiles:
    """The files of one prediction, for `lading_worker.inputs.bind`. ``scratch`` is a folder of its own, made when first needed.

    ``trusted``: what is downloaded is named by the author or the operator, not by a request. The makers raise ``ValueError`` with a
    sentence for the client.
    """

    def __init__(self, scratch, trusted=False):  # noqa: FBT002 - a mark, always given by name
        self._scratch = scratch
        self._limits = None if trusted else Limits()
        self._fetched = {}
        self._handles = []
        self._made = False
        self._names = set()
        self._abandoned = False

    def fetch(self, signature, value):
        """Download what an ``input`` refers to, several files at a time; `path` and `file` then find it there.

        To be called before ``bind``, which would download one file after the other, and could not be interrupted in it. Nothing
        happens for an input that does not fit; a failed download is told by ``bind``, at the input that it is for.
        """
        wanted = _Urls()
        try:
            inputs.bind(signature, value, wanted)
        except inputs.InvalidInput:
            return
        if wanted.found:
            self._fetch_all(wanted.found)

    def _fetch_all(self, urls):
        import threading

        jobs = [(url, self._place(file_name(url)), self._limits if asked else None) for url, asked in urls]
        outcomes = {}
        waiting = list(range(len(jobs)))

        def work():
            while waiting and not self._abandoned:
                try:
                    number = waiting.pop()
                except IndexError:  # another thread was quicker
                    return
                outcomes[number] = _outcome(*jobs[number], wanted=lambda: not self._abandoned)

        # Not a pool: its threads would be waited for when the prediction is canceled, or the process ends.
        threads = [threading.Thread(target=work, name="lading-download", daemon=True) for _ in jobs[:_AT_ONCE]]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.1)  # a cancelation reaches this thread only between two steps
                if self._abandoned:
                    return
        for number, (url, _, limits) in enumerate(jobs):
            self._fetched.setdefault((url, limits), []).append(outcomes[number])

    def abandon(self):
        """End downloads that run, from any thread: the prediction is over before it began."""
        self._abandoned = True

    def path(self, text):
        """A ``Path`` input: the content of the URL in a file that is named as the URL names it."""
        return _cog().Path(self._local(text, self._limits))

    def file(self, text):
        """A ``File`` input: the content of the URL as an open binary file, in memory if it came with the request."""
        return self._open(text, self._limits)

    def _open(self, text, limits):
        if _scheme(text) == "data":
            return io.BytesIO(read_data_url(text)[1])
        handle = open(self._local(text, limits), "rb")  # noqa: SIM115 - open as long as the prediction runs
        self._handles.append(handle)
        return handle

    def secret(self, text):
        """A ``Secret`` input."""
        return _cog().Secret(text)

    def default_path(self, text):
        """The author's own default of a ``Path`` input: a URL, or a file of the project or the machine."""
        return _cog().Path(self._local(text, None) if _is_url(text) else text)

    def default_file(self, text):
        """The author's own default of a ``File`` input, as `default_path`."""
        if _is_url(text):
            return self._open(text, None)
        try:
            handle = open(text, "rb")  # noqa: SIM115 - see `file`
        except OSError as error:
            raise ValueError(f"the default file {text} cannot be opened: {error.strerror or error}") from None
        self._handles.append(handle)
        return handle

    def close(self):
        """Remove the files and close the handles that were made. What the model moved away or removed itself is no failure."""
        self.abandon()
        for handle in self._handles:
            handle.close()
        if self._names:
            self._remove()
        self._handles, self._names, self._fetched = [], set(), {}

    def _remove(self):
        left = []
        for name in self._names:
            try:
                os.unlink(os.path.join(self._scratch, name))
            except OSError:  # a folder, or not there
                left.append(name)
        try:
            if self._made:
                os.rmdir(self._scratch)
        except OSError:
            left = [""]  # all of it
        for name in left:
            import shutil

            shutil.rmtree(os.path.join(self._scratch, name), ignore_errors=True)

    def _local(self, text, limits):
        scheme = _scheme(text)
        if scheme == "data":
            kind, content = read_data_url(text)
            place = self._place("file" + _ending(kind))
            with open(place, "wb") as file:
                file.write(content)
            return place
        if scheme not in ("http", "https"):
            raise ValueError(f"{shown(text)} is not a URL that can be read; send an http://, https:// or data: URL")
        if self._abandoned:
            raise ValueError("the prediction is over")
        fetched = self._fetched.get((text, limits))
        outcome = fetched.pop() if fetched else _outcome(text, self._place(file_name(text)), limits)
        if isinstance(outcome, ValueError):
            raise outcome
        return outcome

    def _place(self, name):
        """A path for a new file: one whose name is taken has a folder of its own, so that each keeps its name."""
        if not self._scratch:
            import tempfile

            self._scratch = tempfile.mkdtemp(prefix="lading-inputs-")
            self._made = True
        if not os.path.isdir(self._scratch):
            os.makedirs(self._scratch)
            self._made = True
        if name not in self._names:
            self._names.add(name)
            return os.path.join(self._scratch, name)
        folder = next(one for one in map("input-{}".format, range(2, sys.maxsize)) if one not in self._names)
        self._names.add(folder)
        os.mkdir(os.path.join(self._scratch, folder))
        return os.path.join(self._scratch, folder, name)


class _Urls(inputs.Verbatim):
    """Collects the URLs that would be downloaded, each with whether the request named it."""

    def __init__(self):
        self.found = []

    def path(self, value):
        """Remember a URL of the request."""
        return self._note(value, asked=True)

    def default_path(self, value):
        """Remember a URL of the author."""
        return self._note(value, asked=False)

    file, default_file = path, default_path

    def _note(self, value, asked):
        if _scheme(value) in ("http", "https"):
            self.found.append((value, asked))
        return value


def _outcome(url, place, limits, wanted=None):
    """Download; the place, or the ``ValueError`` that says why not."""
    try:
        download(url, place, wanted, limits)
    except ValueError as error:
        return error
    return place


def read_data_url(url):
    """The media type and the content of a ``data:`` URL (RFC 2397).

    Raises:
        ValueError: with a sentence for the client.
    """
    from urllib.parse import unquote_to_bytes

    comma = url.find(",")
    if comma < 0:
        raise ValueError("the data: URL has no comma, after which its content would stand")
    header, data = url[len("data:") : comma].strip().lower(), url[comma + 1 :]
    kind = header.partition(";")[0].strip() or "text/plain"
    if not header.endswith(";base64"):
        return kind, unquote_to_bytes(data)
    return kind, _from_base64(data)


def _from_base64(data):
    from base64 import b64decode
    from binascii import a2b_base64
    from urllib.parse import unquote_to_bytes

    try:
        content = a2b_base64(data)
        # It passes over what is not of its alphabet: then less comes out than went in, and the strict way says what is wrong.
        padding = 2 if data.endswith("==") else int(data.endswith("="))
        if len(data) % 4 == 0 and len(content) == (len(data) - padding) * 3 // 4:
            return content
    except ValueError:  # an end that is missing
        pass
    try:
        content = unquote_to_bytes(data) if "%" in data else data.encode("ascii")
        content = content.translate(None, b" \t\r\n")
        return b64decode(content + b"=" * (-len(content) % 4), validate=True)
    except ValueError:
        raise ValueError("the content of the data: URL is not base64") from None


def file_name(url):
    """A name for the file that a URL gives: its last part, made safe and at most 200 bytes long (`cog.types.get_filename`)."""
    if _scheme(url) == "data":
        return "file" + _ending(url[len("data:") :].partition(",")[0].partition(";")[0].strip().lower())
    from urllib.parse import unquote_plus, urlsplit

    try:
        name = unquote_plus(os.path.basename(urlsplit(url).path))
    except ValueError:  # brackets that hold no address; the download says so
        name = ""
    name = re.sub("[/\\\\\x00-\x1f\x7f]", "_", name).encode("utf-8", "replace")
    if len(name) > _LONGEST_NAME:
        root, ending = os.path.splitext(name)
        ending = ending[:50]
        name = root[: _LONGEST_NAME - len(ending) - 1] + b"~" + ending
    shown = name.decode("utf-8", "ignore")
    return "file" if shown in ("", ".", "..") else shown


def _ending(kind):
    if kind in _ENDINGS:
        return _ENDINGS[kind]
    import mimetypes

    return mimetypes.guess_extension(kind) or ""


def _scheme(text):
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", text)
    return found.group(1).lower() if found else ""


def _is_url(text):
    return _scheme(text) in ("http", "https", "data")


def _cog():
    """Our ``cog.types``, also where the project has a module ``cog`` of its own."""
    try:
        from cog import types

        if os.path.abspath(types.__file__).startswith(os.path.join(os.path.dirname(os.path.abspath(__file__)), "shims")):
            return types
    except ImportError:
        pass
    from lading_worker.shims.cog import types

    return types
