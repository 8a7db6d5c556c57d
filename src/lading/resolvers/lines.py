"""Requirements as uv must read them: nothing lost, local paths absolute, credentials kept out of the text."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from lading.model.problems import LadingError, Problem
from lading.model.records import dataclass, field
from lading.model.requirements import Declared, Via
from lading.model.secrets import SecretUrl
from lading.resolvers.places import checked_path, file_url, is_remote

_CONFIG_SETTINGS = ("--config-settings", "--config-setting", "-C", "config-settings", "config-setting")


@dataclass(slots=True)
class Vault:
    """Credentials of direct URLs, each under the name of an environment variable that uv puts in its place."""

    variables: dict[str, str] = field(default_factory=dict)

    def hide(self, url: SecretUrl) -> str:
        """The URL with ``${LADING_CREDENTIALS_n}`` as its user part."""
        if not url.has_credentials:
            return url.reveal()
        parts = urlsplit(url.reveal())
        userinfo, _, host = parts.netloc.rpartition("@")
        name = f"LADING_CREDENTIALS_{len(self.variables) + 1}"
        self.variables[name] = userinfo
        return parts._replace(netloc=f"${{{name}}}@{host}").geturl()


def line(declared: Declared, root: Path, vault: Vault) -> str:
    """One requirement as a line of a requirements file.

    Raises:
        LadingError: if it names a place outside of the project, or a version control that uv does not know.
    """
    extras = f"[{','.join(declared.extras)}]" if declared.extras else ""
    rest = f" ; {declared.marker}" if declared.marker else ""
    rest += "".join(f" --hash={value}" for value in declared.hashes)
    if declared.via is Via.INDEX:
        return f"{declared.name}{extras}{declared.specifier}{rest}"
    place = _place(declared, root, vault)
    # uv knows `-e` for folders only; an editable git requirement is installed as a plain one, and the user is told.
    editable = "-e " if declared.editable and declared.via is Via.PATH else ""
    if declared.name:
        return f"{editable}{declared.name}{extras} @ {place}{rest}"
    return f"{editable}{place}{extras}{rest}"


def _place(declared: Declared, root: Path, vault: Vault) -> str:
    subject = declared.name or "A requirement"
    if declared.url is None:
        return file_url(checked_path(declared.path or ".", root, subject, declared.origin))
    url = declared.url.reveal()
    if declared.via is Via.VCS and not url.startswith("git+"):
        raise LadingError(_unknown_vcs(declared))
    if is_remote(url):
        return vault.hide(declared.url)
    place, mark, fragment = url.partition("#")
    path = checked_path(place, root, subject, declared.origin)
    return f"{'git+' if url.startswith('git+') else ''}{file_url(path)}{mark}{fragment}"


def _unknown_vcs(declared: Declared) -> Problem:
    return Problem(
        rule="vcs-not-supported",
        what=f"{declared.pep508} comes from a version control other than git.",
        origin=declared.origin,
        why="uv, which resolves and installs for Lading, knows git only.",
        instead="Use a git mirror (git+https://...), a released version, or the URL of an archive.",
    )


def config_settings(declared: Declared) -> tuple[tuple[str, str], ...]:
    """A requirement's settings for its build backend, as names and values.

    Raises:
        LadingError: for any other per-requirement option, and for settings of a requirement without a name.
    """
    found = []
    for option, text in declared.options:
        name, equals, value = text.strip("\"'").partition("=")
        if option not in _CONFIG_SETTINGS or not equals or not declared.name:
            raise LadingError(_unknown_option(declared, option))
        found.append((name, value))
    return tuple(found)


def _unknown_option(declared: Declared, option: str) -> Problem:
    return Problem(
        rule="requirement-option-not-supported",
        what=f"The option {option} of {declared.pep508} cannot be kept.",
        origin=declared.origin,
        why="uv, which resolves and installs for Lading, takes --hash, and --config-settings NAME=VALUE of a named requirement.",
        instead="Remove the option, or write it as --config-settings.",
    )
