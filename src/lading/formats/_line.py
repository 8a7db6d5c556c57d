"""One logical line of pip's language: a requirement with its options, an include, or options for the whole file.

Nothing on a line is passed over: what pip would ignore in silence is refused with the fix, or given the one meaning that it can have.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from lading.formats import _line_told as told
from lading.formats._paths import exists, joined, normal, outside
from lading.formats._pip_options import Option, OptionError, parse_options, split_line
from lading.formats._place import Place, expand
from lading.formats._requirement import read_editable, read_requirement
from lading.model.decisions import Decision
from lading.model.files import ProjectFiles
from lading.model.names import canonical
from lading.model.origin import Origin
from lading.model.patterns import pattern
from lading.model.problems import LadingError, Problem
from lading.model.records import dataclass, field, replace
from lading.model.requirements import Declared, IndexOptions, Via
from lading.model.secrets import SecretUrl

_PER_REQUIREMENT = ("hash", "config-settings", "global-option")
_INDEXES = ("index-url", "extra-index-url")
_HASH = pattern(r"(sha256|sha384|sha512):([0-9a-fA-F]+)")
_SCHEME = pattern(r"[A-Za-z][A-Za-z0-9+.-]*://|file:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Include:
    """``-r path`` or ``-c path``, relative to the project's root."""

    path: str
    constraint: bool
    origin: Origin


@dataclass(slots=True)
class Options:
    """The options of a file and its includes while they are read, with pip's rules for later ones."""

    index_url: SecretUrl | None = None
    extra_index_urls: list[SecretUrl] = field(default_factory=list)
    find_links: list[SecretUrl] = field(default_factory=list)
    no_binary: list[str] = field(default_factory=list)
    only_binary: list[str] = field(default_factory=list)
    trusted_hosts: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    decisions: list[Decision] = field(default_factory=list)

    def frozen(self) -> IndexOptions:
        """The options as they are at the end of the file."""
        return IndexOptions(
            index_url=self.index_url,
            extra_index_urls=tuple(dict.fromkeys(self.extra_index_urls)),
            find_links=tuple(dict.fromkeys(self.find_links)),
            no_index="no-index" in self.flags,
            pre="pre" in self.flags,
            prefer_binary="prefer-binary" in self.flags,
            require_hashes="require-hashes" in self.flags,
            no_binary=tuple(self.no_binary),
            only_binary=tuple(self.only_binary),
            trusted_hosts=tuple(dict.fromkeys(self.trusted_hosts)),
        )

    def set_binary(self, option: str, value: str) -> None:
        """``--no-binary`` and ``--only-binary``: a package is in one list at most, ``:all:`` begins anew, ``:none:`` empties."""
        target, other = (self.no_binary, self.only_binary) if option == "no-binary" else (self.only_binary, self.no_binary)
        for name in value.split(","):
            if name == ":all:":
                target[:] = [":all:"]
                other.clear()
            elif name == ":none:":
                target.clear()
            elif name:
                _move(canonical(name), other, target)


def _move(name: str, source: list[str], target: list[str]) -> None:
    if name in source:
        source.remove(name)
    if name not in target:
        target.append(name)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the lines of one declaration: a requirements file with its includes, or a list in a configuration."""

    files: ProjectFiles
    environ: Mapping[str, str]
    options: Options = field(default_factory=Options)

    def read(self, text: str, origin: Origin, *, constraint: bool = False, raw: str | None = None) -> Declared | Include | None:
        """Read one logical line, without comment; options are applied to `options`.

        Args:
            text: The line, with continuations joined.
            origin: Where it begins.
            constraint: Whether it stands in a constraints file.
            raw: The line as written, when that differs.

        Raises:
            LadingError: with the line's problem.
        """
        place = Place(raw or text, origin, self.files, (), constraint, posixpath.dirname(origin.path))
        if "${" not in text:
            return self._meaning(text, place)
        text, place = expand(text, place, self.environ)
        try:
            return self._meaning(text, place)
        except LadingError as error:
            raise LadingError(*(_masked(problem, place) for problem in error.problems)) from None  # the cause may hold a value

    def _meaning(self, text: str, place: Place) -> Declared | Include | None:
        requirement, rest = split_line(text.strip())
        options = _options(rest, place, alone=not requirement) if rest else []
        if requirement:
            return self._requirement(read_requirement(requirement, place), options, place)
        editables = [value for name, value in options if name == "editable"]
        if editables:
            return self._editable(editables, options, place)
        includes = [(name, value) for name, value in options if name in ("requirement", "constraint")]
        if includes:
            return _include(includes, options, place)
        self._apply(options, place)
        return None

    def _requirement(self, declared: Declared, options: list[Option], place: Place) -> Declared:
        if place.constraint and declared.extras:
            raise place.error(
                "constraint-invalid",
                f"A constraint cannot have extras: {place.shown}",
                instead=f"Write {declared.name}{declared.specifier} here, and the extras in the requirements.",
            )
        hashes = tuple(_hash(value, place) for name, value in options if name == "hash")
        settings = tuple((name, _setting(value, place)) for name, value in options if name == "config-settings")
        for name, value in options:
            self._on_requirement(name, value, declared, place)
        if hashes or settings:
            declared = replace(declared, hashes=hashes, options=settings)
        if declared.name == "sklearn":
            self.options.decisions.append(told.sklearn(declared, place))
        return self._bound(declared, options, place)

    def _on_requirement(self, name: str, value: str, declared: Declared, place: Place) -> None:
        """An option on a requirement's line that is not about its files' place."""
        if name in ("no-binary", "only-binary"):
            self.options.set_binary(name, value)
        elif name == "global-option":
            raise place.error(
                "global-option-gone",
                "pip has removed --global-option, and no installer passes it on any more.",
                instead=f'Write --config-settings="--build-option={value}" if the package builds with setuptools.',
            )
        elif name not in ("hash", "config-settings", "find-links", *_INDEXES):
            raise told.two_things(name, declared, place)

    def _bound(self, declared: Declared, options: list[Option], place: Place) -> Declared:
        """An index or a find-links place on the requirement's own line serves this requirement alone."""
        indexes = dict.fromkeys(_index_url(value, place) for name, value in options if name in _INDEXES)
        links = dict.fromkeys(_find_links(value, place) for name, value in options if name == "find-links")
        if not indexes and not links:
            return declared
        if declared.via is not Via.INDEX or place.constraint:
            raise place.error(
                "index-without-use",
                f"An index on this line has no effect: {place.shown}",
                why="A constraint installs nothing." if place.constraint else "The line itself says where the package comes from.",
                instead="Write the index on a line of its own.",
            )
        if len(indexes) > 1 or len(links) > 1:
            raise place.error(
                "several-indexes-on-line",
                f"This line names {max(len(indexes), len(links))} places for one package: {place.shown}",
                instead="Keep one on this line; write the others on lines of their own, where they count for all packages.",
            )
        index, link = next(iter(indexes), None), next(iter(links), None)
        self.options.decisions.append(told.bound(declared, index or link, place))
        return replace(declared, index=index, find_links=link)

    def _editable(self, editables: list[str], options: list[Option], place: Place) -> Declared:
        others = [name for name, _ in options if name not in ("editable", "config-settings")]
        if len(editables) > 1 or others:
            raise place.error(
                "two-things-on-a-line",
                f"pip reads the first -e of a line and passes over the rest: {place.shown}",
                instead="Write one -e a line, and options on lines of their own.",
            )
        if place.constraint:
            raise place.error(
                "constraint-invalid",
                f"A constraint cannot be editable: {place.shown}",
                instead="Write it in a requirements file (-r) instead.",
            )
        declared = read_editable(editables[0], place)
        settings = tuple((name, _setting(value, place)) for name, value in options if name == "config-settings")
        if declared.via is not Via.PATH:
            self.options.decisions.append(told.not_editable(declared, place))
        return replace(declared, options=settings) if settings else declared

    def _apply(self, options: list[Option], place: Place) -> None:
        for name, value in options:
            if name == "index-url":
                self._set_index(_index_url(value, place), place)
            elif name == "extra-index-url":
                self.options.extra_index_urls.append(_index_url(value, place))
            elif name == "find-links":
                self.options.find_links.append(_find_links(value, place))
            elif name in ("no-binary", "only-binary"):
                self.options.set_binary(name, value)
            elif name == "trusted-host":
                self.options.trusted_hosts.append(value)
            elif name == "no-require-hashes":
                self.options.flags.discard("require-hashes")
            elif name in ("no-index", "pre", "prefer-binary", "require-hashes"):
                self.options.flags.add(name)
            else:
                self._without_place(name, value, place)

    def _without_place(self, name: str, value: str, place: Place) -> None:
        """Options of pip that cannot be kept as they are."""
        if name == "use-feature":
            self.options.decisions.append(told.pip_only(name, value, place))
        elif (name, value) == ("all-releases", ":all:"):
            self.options.flags.add("pre")
        elif name in ("all-releases", "only-final"):
            raise place.error(
                "option-not-supported",
                f"--{name} for single packages is not read by this version of Lading.",
                instead="Write --pre for all packages, or name a pre-release in a package's version: NAME>=2.0rc1",
            )
        else:
            raise place.error(
                "option-without-requirement",
                f"--{name} belongs to a requirement, and this line has none: {place.shown}",
                why="pip would pass over it.",
                instead="Write it on the requirement's line, or end the line before with a backslash.",
            )

    def _set_index(self, url: SecretUrl, place: Place) -> None:
        before = self.options.index_url
        if before is not None and before != url:
            self.options.decisions.append(told.replaced_index(before, url, place))
        if self.options.extra_index_urls:
            self.options.decisions.append(told.kept_extra(self.options.extra_index_urls, place))
        self.options.index_url = url


def _masked(problem: Problem, place: Place) -> Problem:
    """The problem with variables by name, wherever their values got into its texts."""
    why, instead = (place.masked(text) if text else None for text in (problem.why, problem.instead))
    return replace(problem, what=place.masked(problem.what), why=why, instead=instead)


def _options(text: str, place: Place, *, alone: bool) -> list[Option]:
    try:
        options, others = parse_options(text)
    except OptionError as error:
        raise told.option_problem(error, place) from error
    if not others:
        return options
    if alone and others[0] == "-":
        raise place.error(
            "yaml-list-item",
            f"This line begins with a hyphen, as in a YAML list: {place.shown}",
            why="pip takes it for an empty option, installs nothing, and reports success.",
            instead=f"Write: {place.masked(' '.join(others[1:]))}",
        )
    raise place.error(
        "two-things-on-a-line",
        f"pip would pass over `{place.masked(' '.join(others))}` on this line: {place.shown}",
        why="After the first option, pip reads options only.",
        instead="Write one requirement or option a line, with the requirement before its options.",
    )


def _hash(value: str, place: Place) -> str:
    found = _HASH.fullmatch(value)
    if not found:
        raise place.error(
            "hash-invalid",
            f"--hash={value} is not a hash that pip accepts.",
            instead="Write --hash=sha256:HEX (or sha384, sha512), as `pip hash FILE` prints it.",
        )
    return f"{found[1]}:{found[2].lower()}"


def _setting(value: str, place: Place) -> str:
    if "=" not in value:
        raise place.error(
            "config-settings-invalid", f"--config-settings={value} has no value.", instead="Write --config-settings=KEY=VALUE."
        )
    return value


def _include(includes: list[Option], options: list[Option], place: Place) -> Include:
    if len(options) > 1:
        raise place.error(
            "two-things-on-a-line",
            f"pip reads the first include of a line and passes over the rest: {place.shown}",
            instead="Write one -r, -c or other option a line.",
        )
    kind, written = includes[0]
    if _SCHEME.match(written):
        raise place.error(
            "include-url",
            f"{place.masked(written)} would be downloaded while reading, and could be different next time.",
            instead=f"Save it in the project and write: -{'c' if kind == 'constraint' else 'r'} {written.rpartition('/')[2] or 'FILE'}",
        )
    path = joined(place.folder, written)
    if outside(path):
        raise place.error(
            "include-outside-project",
            f"{place.masked(written)} is outside of the project.",
            why="The project must be readable on another machine, and in an image.",
            instead="Copy the file into the project, or run Lading in the folder that holds both (-C).",
        )
    return Include(path, kind == "constraint", place.origin)


def _after_equals(value: str) -> str:
    """``-i=URL`` and ``-f=URL``: for pip the equals sign belongs to the address, which no server answers then."""
    return value[1:] if value.startswith("=") and _SCHEME.match(value[1:]) else value


def _index_url(value: str, place: Place) -> SecretUrl:
    value = _after_equals(value)
    if _SCHEME.match(value) or value.startswith(("/", "./", "../")):
        return place.url(value)
    if place.files.is_folder(value):
        return place.url(normal(value))
    raise place.error(
        "index-invalid",
        f"An index is a URL, and this is none: {place.masked(value)}",
        instead=f"Write https://{place.masked(value).lstrip('/')}",
    )


def _find_links(value: str, place: Place) -> SecretUrl:
    """A page's URL, or a folder or page in the project: relative to the file that names it, else to the root, as for pip."""
    value = _after_equals(value)
    if _SCHEME.match(value):
        return place.url(value)
    near, from_root = joined(place.folder, value), normal(value)
    for path in (near, from_root):
        if outside(path) or place.files.is_folder(path) or exists(path, place.files):
            return place.url(path)
    raise place.error(
        "find-links-not-found",
        f"The folder {place.masked(value)} does not exist.",
        why="Packages that are to come from it would be taken from an index instead.",
        instead=f"Create it, or write the page's whole URL: https://{place.masked(value)}"
        if "." in value.partition("/")[0]
        else "Create it.",
    )
