"""Places that models lie in: folders and files here, and what fsspec reaches."""

import os
import shutil
import urllib.parse
import urllib.request

_PACKAGES = {
    "s3": "fsspec and s3fs",
    "gs": "fsspec and gcsfs",
    "gcs": "fsspec and gcsfs",
    "https": "fsspec and aiohttp",
    "http": "fsspec and aiohttp",
}


def of(written, root):
    """The place that a configuration names; ``root`` is the project's folder.

    Raises:
        ImportError: if it is elsewhere and the environment cannot reach it, saying which packages it needs.
    """
    scheme, separator, rest = written.partition("://")
    if not separator:
        return Here(os.path.join(root, written))
    if scheme == "file":
        return Here(urllib.parse.unquote(rest) if rest.startswith("/") else os.path.join(root, rest))
    try:
        return There(written)
    except ImportError as error:
        if scheme in ("http", "https"):
            return Web(written)
        msg = "{} is reached by {}, which the model's environment lacks ({}). Add them to the dependencies.".format(
            written, _PACKAGES.get(scheme, "fsspec"), error
        )
        raise ImportError(msg) from None


class Here:
    """A file or folder of this machine, used where it lies."""

    def __init__(self, path):
        self._path = os.path.normpath(path)

    def __str__(self):
        return self._path

    def child(self, name):
        """A folder or file in it."""
        return Here(os.path.join(self._path, name))

    def folders(self):
        """The names of the folders in it, sorted."""
        if not os.path.isdir(self._path):
            return []
        return sorted(name for name in os.listdir(self._path) if os.path.isdir(os.path.join(self._path, name)) and name[:1] != ".")

    def mark(self):
        """What its files look like: another value once one of them changes; empty if there is none."""
        if os.path.isfile(self._path):
            return [_stat("", self._path)]
        found = []
        for folder, _, names in os.walk(self._path):
            found += [_stat(os.path.relpath(folder, self._path), os.path.join(folder, name)) for name in names]
        return sorted(found)

    def local(self):
        """Its path."""
        return self._path


def _stat(folder, path):
    status = os.stat(path)
    return (folder, os.path.basename(path), status.st_size, status.st_mtime_ns)


class There:
    """A place that fsspec reaches: ``s3://`` and others. What it needs is said by the environment's variables (``AWS_...``)."""

    def __init__(self, address, system=None):
        self._address = address.rstrip("/")
        if system is None:
            import fsspec

            options = {}
            endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
            if address.startswith("s3://") and endpoint:
                options["client_kwargs"] = {"endpoint_url": endpoint}
            # Without its cache of listings, which would hide what changes there.
            system = fsspec.filesystem(address.partition("://")[0], use_listings_cache=False, **options)
        self._system = system

    def __str__(self):
        return self._address

    def child(self, name):
        """A folder or file in it."""
        return There(self._address + "/" + name, self._system)

    def folders(self):
        """The names of the folders in it, sorted."""
        try:
            listed = self._system.ls(self._address, detail=True)
        except FileNotFoundError:
            return []
        return sorted(one["name"].rstrip("/").rpartition("/")[2] for one in listed if one["type"] == "directory")

    def _files(self):
        """What is known of each file below it, by its path from here; by the empty path, of itself if it is one."""
        self._system.invalidate_cache()
        root = self._system._strip_protocol(self._address).rstrip("/")  # noqa: SLF001 - how its names begin, and fsspec's own use
        found = {}
        for name, info in self._system.find(self._address, detail=True).items():
            inside = name[len(root) :].lstrip("/") if name.startswith(root) else ".."
            if info.get("type") != "directory" and not name.endswith("/") and ".." not in urllib.parse.unquote(inside).split("/"):
                found[inside] = info
        if not found and self._system.exists(self._address):
            found = {"": self._system.info(self._address)}
        return found

    def mark(self):
        """See `Here.mark`."""
        found = self._files()
        if self._is_web:
            # fsspec tells nothing of a web page by which a change could be seen.
            return [(self._at(inside), _web_mark(self._at(inside))) for inside in sorted(found)]
        keys = ("size", "ETag", "etag", "mtime", "LastModified", "updated")
        return sorted((self._at(inside), [str(info.get(key)) for key in keys]) for inside, info in found.items())

    @property
    def _is_web(self):
        return self._address.startswith(("http://", "https://"))

    def _at(self, inside):
        return self._address + "/" + inside if inside else self._address

    def local(self):
        """None: it has to be fetched."""

    def fetch(self, target):
        """Copy it to ``target``, file by file: not every system of fsspec gets folders as a whole."""
        for inside in self._files():
            name = urllib.parse.unquote(inside) if self._is_web else inside
            path = os.path.join(target, *name.split("/")) if inside else target
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self._system.get_file(self._at(inside), path)


def _web_mark(address):
    with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=60) as answer:  # noqa: S310 - the configuration's address
        return [answer.headers.get(name) for name in ("ETag", "Last-Modified", "Content-Length")]


class Web:
    """One file at ``https://``, where the environment has no fsspec."""

    def __init__(self, address):
        self._address = address

    def __str__(self):
        return self._address

    def child(self, name):
        """A file below it."""
        return Web(self._address.rstrip("/") + "/" + name)

    def folders(self):
        """None: a web server lists nothing."""
        return []

    def mark(self):
        """See `Here.mark`."""
        return [(self._address, _web_mark(self._address))]

    def local(self):
        """None: it has to be fetched."""

    def fetch(self, target):
        """Copy it to ``target``."""
        with urllib.request.urlopen(self._address, timeout=60) as answer, open(target, "wb") as stream:  # noqa: S310 - the configuration's address
            shutil.copyfileobj(answer, stream)
