"""What is said of a line of pip's language: options that it cannot have, and what was made of those that it has."""

from __future__ import annotations

from lading.formats._pip_options import OptionError
from lading.formats._place import Place
from lading.model.decisions import Decision, Kind
from lading.model.names import canonical
from lading.model.patterns import pattern
from lading.model.problems import LadingError
from lading.model.requirements import Declared
from lading.model.secrets import SecretUrl

_FIRST_NAME = pattern(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def option_problem(error: OptionError, place: Place) -> LadingError:
    """Options that pip would refuse, with what to write in their place."""
    option = error.word.partition("=")[0]
    instead = _COMMAND_LINE_ONLY.get(option, "Remove it, or give it on the command line of the tool that it belongs to.")
    if option == "--no-build-isolation":
        instead = _without_isolation(place)
    return place.error(
        "option-unknown", f"The options of this line cannot be read: {place.shown}", why=place.masked(str(error)), instead=instead
    )


def _without_isolation(place: Place) -> str:
    """Where a package whose build needs the others is named: pip has this option on its command line alone."""
    found = _FIRST_NAME.match(place.raw)
    setting = f'no-build-isolation-package = ["{canonical(found[0])}"]' if found else "no-build-isolation = true"
    return f"Remove it, and write {setting} under [tool.uv] in a pyproject.toml beside: what needs the other packages is built after them."


_COMMAND_LINE_ONLY = {
    "--no-deps": "Remove it. To keep out one dependency, pin the others in a constraints file (-c).",
    "--timeout": "Remove it; set UV_HTTP_TIMEOUT instead.",
    "--default-timeout": "Remove it; set UV_HTTP_TIMEOUT instead.",
    "--upgrade": "Remove it; `lading lock` resolves anew.",
    "-U": "Remove it; `lading lock` resolves anew.",
    "--no-cache-dir": "Remove it; a cache does not change what is installed.",
    "--user": "Remove it; packages go into the project's own environment.",
}


def two_things(name: str, declared: Declared, place: Place) -> LadingError:
    """An option that pip passes over on a requirement's line."""
    return place.error(
        "two-things-on-a-line",
        f"pip passes over --{name} when it stands on a requirement's line: {place.shown}",
        instead=f"Write --{name} on a line of its own"
        + (f", or name a pre-release: {declared.name}>=1.0rc1" if name == "pre" else "")
        + ".",
    )


def bound(declared: Declared, url: SecretUrl | None, place: Place) -> Decision:
    """An index on a requirement's own line serves that requirement alone."""
    return Decision(
        rule="index-on-line",
        kind=Kind.CHOSEN,
        subject=declared.name or "",
        asked=place.shown,
        chose=f"{url} for {declared.name} only",
        because="pip passes over an index that stands on a requirement's line; there it can only be meant for that requirement",
        origin=place.origin,
        instead="the index on a line of its own, to use it for all packages",
    )


def not_editable(declared: Declared, place: Place) -> Decision:
    """A git repository is installed as an ordinary package."""
    return Decision(
        rule="git-not-editable",
        kind=Kind.CHOSEN,
        subject=declared.name or str(declared.url),
        asked=place.shown,
        chose="an ordinary installation of that commit",
        because="an editable git checkout could change after it was locked",
        origin=place.origin,
        instead="a clone inside the project, named with -e ./FOLDER",
    )


def replaced_index(before: SecretUrl, url: SecretUrl, place: Place) -> Decision:
    """A later index takes the place of an earlier one."""
    return Decision(
        rule="index-url-replaced",
        kind=Kind.KEPT,
        subject="indexes",
        asked=f"{before}, then {url}",
        chose=str(url),
        because="the last --index-url counts, as in pip",
        origin=place.origin,
        instead="--extra-index-url for one of them, to use both",
    )


def kept_extra(extra: list[SecretUrl], place: Place) -> Decision:
    """An extra index that pip would forget is kept."""
    return Decision(
        rule="extra-index-kept",
        kind=Kind.CHOSEN,
        subject="indexes",
        asked=place.shown,
        chose=f"that index, and {', '.join(str(url) for url in extra)} as well",
        because="pip forgets every --extra-index-url that stands before --index-url; the order of lines should not matter",
        origin=place.origin,
        instead="the file without the extra index, if it is not wanted",
    )


def pip_only(name: str, value: str, place: Place) -> Decision:
    """A feature of pip's own has no effect."""
    return Decision(
        rule="pip-option-without-effect",
        kind=Kind.ADVICE,
        subject=f"--{name}",
        asked=f"--{name}={value}",
        chose="no effect",
        because="it switches on a feature of pip's own, and Lading installs with uv",
        origin=place.origin,
    )


def sklearn(declared: Declared, place: Place) -> Decision:
    """The placeholder that is not scikit-learn."""
    return Decision(
        rule="sklearn-is-scikit-learn",
        kind=Kind.ADVICE,
        subject="sklearn",
        asked=declared.pep508,
        chose=declared.pep508,
        because="`sklearn` is a placeholder on the index, and its newer versions refuse to install; the package is called scikit-learn",
        origin=place.origin,
        instead="scikit-learn",
    )
