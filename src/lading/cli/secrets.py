"""``--secret id=NAME,env=VARIABLE`` or ``id=NAME,src=FILE``: credentials for this run that stand in no file of the project.

The form is Docker's and Cog's. What a secret is for follows from its id:

* ``netrc``: a netrc file, for every server that asks for a password;
* ``pip.conf`` (or ``pip``): a configuration of pip, for its indexes;
* anything else: the value of ``${ID}`` in requirements and index URLs, in upper case with ``_`` for other characters.
"""

from __future__ import annotations

import atexit
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from lading.model.files import MemoryFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

_NETRC = ("netrc", ".netrc")
_PIP_CONF = ("pip.conf", "pip", "pip_conf", "pipconf")
_OPTION = Origin("--secret")


def with_secrets(given: Iterable[str], environ: Mapping[str, str], folder: Path) -> Mapping[str, str]:
    """The variables with those that the secrets set; ``environ`` itself where there are none. Files are relative to ``folder``.

    Raises:
        LadingError: if one cannot be understood, or its variable or file is not there.
    """
    added: dict[str, str] = {}
    for text in given:
        name, value = _read(text, environ, folder)
        if name.lower() in _NETRC:
            _use_netrc(value)
        elif name.lower() in _PIP_CONF:
            added |= _indexes(value, environ)
        else:
            added[re.sub(r"[^A-Z0-9_]", "_", name.upper())] = value.rstrip("\r\n")
    return {**environ, **added} if added else environ


def secret_values(given: Iterable[str], environ: Mapping[str, str], folder: Path) -> dict[str, Path]:
    """A file with each secret's value, by its id: for build steps that mount it. For this user alone, gone when this process ends.

    Raises:
        LadingError: as `with_secrets` does.
    """
    import tempfile

    found = {}
    for text in given:
        name, value = _read(text, environ, folder)
        descriptor, path = tempfile.mkstemp(prefix="lading-secret-")
        atexit.register(Path(path).unlink, missing_ok=True)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(value)
        found[name] = Path(path)
    return found


def _read(text: str, environ: Mapping[str, str], folder: Path) -> tuple[str, str]:
    parts = {key.strip(): value for key, _, value in (part.partition("=") for part in text.split(","))}
    name = parts.get("id", "")
    unknown = sorted(set(parts) - {"id", "env", "src", "source", "type"})
    source = parts.get("src") or parts.get("source")
    if not name or unknown or (parts.get("env") and source):
        # The text itself may be a secret that was typed in the wrong place.
        what = f"has the unknown part {unknown[0]}" if name and unknown else "names both env and src" if name else "has no id"
        raise LadingError(_problem(f"A --secret {what}.", "Write --secret id=NAME,env=VARIABLE or --secret id=NAME,src=FILE."))
    if source:
        return name, _file(folder / source, source)
    variable = parts.get("env") or name
    if not environ.get(variable):
        raise LadingError(_problem(f"The variable {variable} of the secret {name} is not set.", f"export {variable}=..."))
    return name, environ[variable]


def _file(path: Path, shown: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise LadingError(_problem(f"The file {shown} of a secret cannot be read: {reason}.", "Name a file that is there.")) from error


def _use_netrc(content: str) -> None:
    """Where uv and git look: a file for the owner alone, gone when this process ends."""
    import tempfile

    descriptor, path = tempfile.mkstemp(prefix="lading-netrc-")
    atexit.register(lambda: Path(path).unlink(missing_ok=True))
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(content)
    os.environ["NETRC"] = path


def _indexes(content: str, environ: Mapping[str, str]) -> dict[str, str]:
    from lading.planner.indexes import pip_conf_options

    options = pip_conf_options(MemoryFiles({"pip.conf": content}))[0]
    values = {
        "UV_DEFAULT_INDEX": [options.index_url.reveal()] if options.index_url else [],
        "PIP_EXTRA_INDEX_URL": [*(url.reveal() for url in options.extra_index_urls), environ.get("PIP_EXTRA_INDEX_URL", "")],
        "PIP_FIND_LINKS": [*(url.reveal() for url in options.find_links), environ.get("PIP_FIND_LINKS", "")],
    }
    joined = {name: " ".join(urls).strip() for name, urls in values.items()}
    return {name: value for name, value in joined.items() if value}


def _problem(what: str, instead: str) -> Problem:
    return Problem(rule="secret-invalid", what=what, origin=_OPTION, instead=instead)
