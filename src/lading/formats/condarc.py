"""``.condarc``: where conda is configured to look for packages, as far as it changes what is found.

conda's search path and precedence are followed (https://docs.conda.io/projects/conda/en/stable/user-guide/configuration/); lists of
several files are joined, the strongest first. What only changes how conda itself works is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from lading.formats._place import NO_VARIABLES
from lading.formats._yaml import Map, Scalar, Sequence, read_yaml
from lading.model.conda import ChannelUrl
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import ProblemCollector
from lading.model.records import dataclass, field
from lading.model.secrets import SecretUrl

name = ".condarc"

_SCHEMES = ("http", "https", "all")
_WITHOUT_EFFECT = ("client_ssl_cert", "pinned_packages", "allowlist_channels", "whitelist_channels", "denylist_channels")
_YES, _NO = ("true", "yes", "on", "truststore"), ("false", "no", "off")
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condarc:
    """conda's configuration. ``paths`` are the files that say something, the strongest first.

    ``custom`` are channels by name with the URL above them, ``multichannels`` names that stand for several; ``mirrors`` are places that
    answer for a channel. ``verify`` is ``yes``, ``no``, a path to certificates, or empty; ``proxies`` are by scheme;
    ``patience`` is for how many seconds nothing may be received. ``ignored`` are keys with a say in
    what is found, or how, that have no effect here.
    """

    paths: tuple[str, ...] = ()
    channels: tuple[ChannelUrl, ...] = ()
    defaults: tuple[ChannelUrl, ...] = ()
    alias: ChannelUrl | None = None
    custom: Mapping[str, ChannelUrl] = field(default_factory=dict)
    multichannels: Mapping[str, tuple[ChannelUrl, ...]] = field(default_factory=dict)
    mirrors: Mapping[str, tuple[ChannelUrl, ...]] = field(default_factory=dict)
    priority: str | None = None
    verify: str = ""
    proxies: Mapping[str, SecretUrl] = field(default_factory=dict)
    patience: float | None = None
    ignored: tuple[str, ...] = ()

    def over(self, weaker: Condarc) -> Condarc:
        """This configuration, completed by a weaker one."""
        return Condarc(
            paths=(*self.paths, *weaker.paths),
            channels=tuple(dict.fromkeys((*self.channels, *weaker.channels))),
            defaults=self.defaults or weaker.defaults,
            alias=self.alias or weaker.alias,
            custom={**weaker.custom, **self.custom},
            multichannels={**weaker.multichannels, **self.multichannels},
            mirrors={**weaker.mirrors, **self.mirrors},
            priority=self.priority or weaker.priority,
            verify=self.verify or weaker.verify,
            proxies={**weaker.proxies, **self.proxies},
            patience=weaker.patience if self.patience is None else self.patience,
            ignored=tuple(dict.fromkeys((*self.ignored, *weaker.ignored))),
        )


def search_path(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The machine's configuration files, the strongest first."""
    home = environ.get("HOME", "")
    named = [environ["CONDARC"]] if environ.get("CONDARC") else []
    config = environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    own = [f"{home}/.condarc", f"{home}/.conda/.condarc", f"{home}/.conda/condarc"] if home else []
    return tuple(dict.fromkeys([*named, *own, *([f"{config}/conda/.condarc"] if config else []), "/etc/conda/.condarc"]))


def read_all(paths: Iterable[str], files: ProjectFiles, environ: Mapping[str, str] = NO_VARIABLES) -> Condarc:
    """The configuration of all these files that are there.

    Raises:
        LadingError: if one is no YAML.
    """
    found = Condarc()
    for path in paths:
        if files.read(path) is not None:
            found = found.over(read(path, files, environ))
    return found


def read(path: str, files: ProjectFiles, environ: Mapping[str, str] = NO_VARIABLES) -> Condarc:
    """One file's configuration; keys and values that conda would not accept are passed over, as they are conda's business.

    Raises:
        LadingError: if it is no YAML.
    """
    problems = ProblemCollector()
    root = read_yaml(path, files, problems)
    problems.raise_if_any()
    if not isinstance(root, Map):
        return Condarc()
    reading = _Reading(path, root, environ)
    priority = reading.text("channel_priority")
    return Condarc(
        paths=(path,),
        channels=reading.texts("channels"),
        defaults=reading.texts("default_channels"),
        alias=next(iter(reading.texts("channel_alias")), None),
        custom={key: urls[0] for key, urls in reading.maps("custom_channels").items() if urls},
        multichannels=reading.maps("custom_multichannels"),
        mirrors=reading.maps("mirrored_channels"),
        priority={"true": "strict", "false": "disabled"}.get(priority, priority) or None,
        verify=reading.verify(),
        patience=reading.number("remote_read_timeout_secs"),
        proxies={scheme: url for scheme, url in reading.proxies().items() if scheme in _SCHEMES},
        ignored=(
            *(key for key in _WITHOUT_EFFECT if root.get(key)),
            *(f"proxy_servers: {place}" for place in reading.proxies() if place not in _SCHEMES),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    path: str
    root: Map
    environ: Mapping[str, str]

    def text(self, key: str) -> str:
        """A text in lower case; empty without one."""
        entry = self.root.get(key)
        return entry.value.text.lower() if entry and isinstance(entry.value, Scalar) else ""

    def number(self, key: str) -> float | None:
        """A number above zero; None without one."""
        entry = self.root.get(key)
        value = entry.value.value if entry and isinstance(entry.value, Scalar) else None
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None

    def texts(self, key: str) -> tuple[ChannelUrl, ...]:
        """A list of channels, or a single one."""
        entry = self.root.get(key)
        return self._urls(entry.value) if entry else ()

    def maps(self, key: str) -> dict[str, tuple[ChannelUrl, ...]]:
        """Names with their channels."""
        entry = self.root.get(key)
        return {one.key: self._urls(one.value) for one in entry.value} if entry and isinstance(entry.value, Map) else {}

    def verify(self) -> str:
        """Whether certificates are checked, or against which; the machine's own ones are a yes."""
        entry = self.root.get("ssl_verify")
        if entry is None or not isinstance(entry.value, Scalar):
            return ""
        word = entry.value.text.lower()
        if word in (*_YES, *_NO, ""):
            return "" if not word else "yes" if word in _YES else "no"
        path = self._url(entry.value.text, entry.line).reveal()
        return self.environ.get("HOME", "~") + path[1:] if path.startswith("~/") else path

    def proxies(self) -> dict[str, SecretUrl]:
        """Proxies by what they are for."""
        return {place: urls[0] for place, urls in self.maps("proxy_servers").items() if urls}

    def _urls(self, node: object) -> tuple[ChannelUrl, ...]:
        items = node.items if isinstance(node, Sequence) else (node,)
        return tuple(self._url(item.text, item.line) for item in items if isinstance(item, Scalar) and item.value is not None)

    def _url(self, text: str, line: int) -> ChannelUrl:
        """Conda expands variables in its configuration; one that is not set stays as it is."""
        names = [found[1] or found[2] for found in _VARIABLE.finditer(text)]
        expanded = _VARIABLE.sub(lambda found: self.environ.get(found[1] or found[2], found[0]), text)
        variables = tuple((one, self.environ[one]) for one in names if one in self.environ)
        return ChannelUrl(expanded, variables, Origin(self.path, line))
