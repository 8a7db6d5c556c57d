"""The types of inputs and outputs: ``Path``, ``File``, ``Secret``, and the iterators that are concatenated for display."""

import io
import os
import pathlib
import sys
import typing

from ._worker import worker_module

_Item = typing.TypeVar("_Item")
_Native = type(pathlib.Path())


class ExperimentalFeatureWarning(FutureWarning):
    """Cog once warned with it; models import it to silence that."""


class _Validated:
    """Lets pydantic's models (1 and 2) have fields of a type: what `validate` takes. pydantic itself is not needed."""

    @classmethod
    def __get_validators__(cls):
        yield cls.validate

    @classmethod
    def __get_pydantic_core_schema__(cls, source, handler):
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(cls.validate)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema, handler):
        return {"type": "string", "format": "uri"}


class Secret(_Validated):
    """A text that shows itself as asterisks; `get_secret_value` gives it."""

    __slots__ = ("_value",)

    def __init__(self, secret_value=None):
        object.__setattr__(self, "_value", secret_value)

    @classmethod
    def validate(cls, value):
        """A secret of a text, or the secret itself."""
        return value if isinstance(value, cls) else cls(value)

    @property
    def secret_value(self):
        """The text."""
        return self._value

    def get_secret_value(self):
        """The text, None if there is none."""
        return self._value

    def __setattr__(self, name, value):
        raise AttributeError(f"cannot assign to field {name!r}")

    def __reduce__(self):
        return (type(self), (self._value,))

    def __eq__(self, other):
        return self._value == other._value if type(other) is type(self) else NotImplemented

    def __hash__(self):
        return hash((Secret, self._value))

    def __len__(self):
        return len(self._value or "")

    def __bool__(self):
        return self._value is not None

    def __str__(self):
        return "" if self._value is None else "**********"

    def __repr__(self):
        return f"Secret({self!s})"


class File(io.IOBase, _Validated):
    """A file-like object; Cog's older type for what `Path` is for."""

    @classmethod
    def validate(cls, value):
        """An open file of a ``data:``, ``http://`` or ``https://`` URL, or the file itself.

        Raises:
            ValueError: for any other text.
        """
        if isinstance(value, io.IOBase):
            return value
        scheme = value.partition(":")[0].lower()
        if scheme == "data":
            return io.BytesIO(worker_module("files").read_data_url(value)[1])
        if scheme in ("http", "https"):
            return URLFile(value)
        raise ValueError(f"{scheme!r} is not a valid URL scheme. 'data', 'http', or 'https' is supported.")


class Path(_Native, _Validated):
    """A path; as an input, that of a file with the content of the URL that the request carries."""

    @classmethod
    def validate(cls, value):
        """The path of a text or path; of a URL, one that is downloaded when it is first used (`URLPath`)."""
        if isinstance(value, pathlib.PurePath):
            return value
        if value.partition(":")[0].lower() in ("data", "http", "https"):
            return URLPath(source=value, filename=worker_module("files").file_name(value), fileobj=File.validate(value))
        return cls(value)


class URLPath(_Native):
    """A path whose file is made from an open file when it is first needed."""

    def __new__(cls, *, source, filename, fileobj):  # noqa: ARG004, D102 - see `__init__`
        return super().__new__(cls, filename)

    def __init__(self, *, source, filename, fileobj):
        if sys.version_info >= (3, 12):
            super().__init__(filename)
        self.source = source
        self.filename = filename
        self.fileobj = fileobj
        self._path = None

    def convert(self):
        """The path of the file, which is made if need be."""
        if self._path is None:
            import shutil
            import tempfile

            with tempfile.NamedTemporaryFile(suffix=self.filename, delete=False) as made:
                shutil.copyfileobj(self.fileobj, made)
            self._path = Path(made.name)
        return self._path

    def unlink(self, missing_ok=False):  # noqa: FBT002 - as in `pathlib`
        """Remove the file, if it was made."""
        if self._path is not None:
            try:
                self._path.unlink()
            except FileNotFoundError:
                if not missing_ok:
                    raise

    def __fspath__(self):
        return os.fspath(self.convert())

    def __str__(self):
        return self.source


class URLFile(io.IOBase):
    """An ``http://`` or ``https://`` URL as a binary file, which is opened when it is first read. It can be pickled.

    Raises:
        ValueError: for any other URL.
    """

    def __init__(self, url, filename=None):
        if url.partition(":")[0].lower() not in ("http", "https"):
            raise ValueError("URLFile requires URL to conform to HTTP or HTTPS protocol")
        self._url = url
        self._response = None
        self.name = filename or worker_module("files").file_name(url)

    def _opened(self):
        if self._response is None:
            self._response = worker_module("downloads").open_url(self._url)
        return self._response

    def read(self, size=-1):
        """The next bytes: all that remain, or ``size`` at most."""
        return self._opened().read() if size is None or size < 0 else self._opened().read(size)

    def readline(self, size=-1):
        """The next line."""
        return self._opened().readline() if size is None or size < 0 else self._opened().readline(size)

    def readable(self):
        """Whether it can be read."""
        return True

    def close(self):
        """Close the connection."""
        if getattr(self, "_response", None) is not None:
            self._response.close()
        super().close()

    def __getattr__(self, name):
        if name.startswith("__") or name in ("_url", "_response", "name"):
            raise AttributeError(name)
        return getattr(self._opened(), name)

    def __getstate__(self):
        return {"url": self._url, "name": self.name}

    def __setstate__(self, state):
        self.__init__(state["url"], state["name"])

    def __reduce__(self):
        return (type(self), (self._url, self.name))

    def __repr__(self):
        return f"<URLFile {self.name!r}>"


class ConcatenateIterator(typing.Iterator[_Item]):
    """The output of a ``run`` that yields text in pieces, which are shown joined."""


class AsyncConcatenateIterator(typing.AsyncIterator[_Item]):
    """The output of an ``async def run`` that yields text in pieces, which are shown joined."""


Weights = typing.Union[File, Path, str]
"""What ``setup(weights)`` gets, for predictors that import the name (Cog 0.9 to 0.16 had it)."""
