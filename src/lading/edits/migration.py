"""From a cog.yaml that lists packages and calls pip to one that names a requirements file: every change, and what is left to do by hand."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping

import yaml

from lading.edits.changes import Change, Text
from lading.edits.uv_settings import PATH as PYPROJECT
from lading.edits.uv_settings import UvSettings, taken, write_settings
from lading.edits.yaml_lists import CannotEdit, Item, edited, lines_of, listing, with_items, without_items
from lading.edits.yaml_places import entry, root_of
from lading.formats import requirements_txt
from lading.formats._pip_commands import Meaning, meaning
from lading.formats._shell import NotUnderstood
from lading.model.files import MemoryFiles, ProjectFiles
from lading.model.names import canonical
from lading.model.origin import Origin
from lading.model.problems import LadingError
from lading.model.records import dataclass, field, replace
from lading.model.secrets import redact_urls

_COMMANDS = ("pre_install", "run")
_NAME = re.compile(r"(?:-e )?[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_SECRET_TARGETS = {"pip.conf": "pip.conf", ".netrc": "netrc", "netrc": "netrc"}


@dataclass(frozen=True, slots=True)
class Moved:
    """Something that has a declaration now: what, from where, and what it became."""

    what: str
    origin: Origin
    became: str


@dataclass(frozen=True, slots=True)
class Left:
    """Something that stays as it is, and why."""

    what: str
    origin: Origin
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """All of it. Without ``changes`` there is nothing to write."""

    changes: tuple[Change, ...] = ()
    moved: tuple[Moved, ...] = ()
    left: tuple[Left, ...] = ()


def migrate(path: str, files: ProjectFiles, environ: Mapping[str, str]) -> Migration:
    """Work out the migration of a cog.yaml.

    ``python_packages`` become a requirements file that ``python_requirements`` names. Commands that only install become declarations
    (requirements, ``system_packages``, ``[tool.uv]``); a command that does anything else as well stays whole.
    """
    content = files.read(path) or b""
    work = _Work(path, Text.of(path, content), files, environ)
    try:
        work.packages()
        work.commands()
        return work.finish(content)
    except CannotEdit as reason:
        return Migration(left=(*work.left, Left(path, Origin(path), f"it cannot be changed with the rest kept: {reason}")))


@dataclass(slots=True)
class _Work:
    """One migration while it is worked out. ``edits`` are lines of the cog.yaml."""

    path: str
    source: Text
    files: ProjectFiles
    environ: Mapping[str, str]
    edits: list[tuple[int, int, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    target: str | None = None
    whole: Meaning = field(default_factory=Meaning)
    moved: list[Moved] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)

    @property
    def build(self) -> yaml.Node | None:
        """The node of ``build``."""
        found = entry(root_of(self.source.text), "build")
        return found[1] if found else None

    @property
    def folder(self) -> str:
        """The folder of the cog.yaml, with a slash, or nothing for the root."""
        folder = posixpath.dirname(self.path)
        return f"{folder}/" if folder else ""

    def packages(self) -> None:
        """Move ``python_packages``."""
        build = self.build
        named = entry(build, "python_requirements")
        if named and isinstance(named[1], yaml.ScalarNode) and named[1].value:
            self.target = self.folder + str(named[1].value).removeprefix("./")
        found = listing(self.source.text, build, "python_packages") if build is not None and self.target is None else None
        if found is None or not found.items:
            return
        lines = [line for item in found.items for line in _requirement_lines(item)] + list(found.below)
        self.target = self._new_target(lines)
        name = self.target.removeprefix(self.folder)
        beside = f"  {found.comment}" if found.comment else ""
        self.edits.append((found.first, found.last + 1, f"{found.indent}python_requirements: {name}{beside}{self.source.newline}"))
        self.moved.append(Moved(f"{len(found.items)} python_packages", Origin(self.path, found.first + 1), self.target))
        if self.files.read(self.target) is None:
            self.lines = lines

    def _new_target(self, lines: list[str]) -> str:
        """requirements.txt; where there is one that says something else, a name beside it."""
        usual = f"{self.folder}requirements.txt"
        if self.files.read(usual) is None or self._says_the_same(usual, lines):
            return usual
        other = f"{self.folder}requirements-cog.txt"
        if self.files.read(other) is not None:
            raise CannotEdit(f"{usual} and {other} are there already, and say something else")
        self.left.append(Left(usual, Origin(usual), f"it says something else than python_packages, so these go to {other}"))
        return other

    def _says_the_same(self, path: str, lines: list[str]) -> bool:
        try:
            here = requirements_txt.parse(path, self.files, self.environ)
            wanted = requirements_txt.parse(path, MemoryFiles({path: "\n".join(lines)}), self.environ)
        except LadingError:
            return False
        return {one.pep508 for one in here.requirements} == {one.pep508 for one in wanted.requirements} and here.options == wanted.options

    def commands(self) -> None:
        """Turn commands that only install into declarations."""
        for key in _COMMANDS:
            found = listing(self.source.text, self.build, key) if self.build is not None else None
            gone = [item for item in found.items if self._command(item, f"build.{key}")] if found else []
            if found and gone:
                try:
                    self.edits += without_items(self.source.text, found, gone)
                except CannotEdit as reason:
                    raise CannotEdit(f"{reason}; write one command a line, each after a hyphen") from reason

    def _command(self, item: Item, where: str) -> bool:
        """Whether a command has become a declaration."""
        text, mounts = _command_of(item.node)
        origin = Origin(self.path, item.node.start_mark.line + 1)
        shown = redact_urls(" ".join(text.split()))
        try:
            found = self._checked(meaning(text), mounts)
        except NotUnderstood as reason:
            self.left.append(Left(shown, origin, str(reason)))
            return False
        self.lines += [one for one in item.above if one]
        self._take(found, item.beside)
        notes = [
            *_became(found, self._requirements_path()),
            *(f"--secret id={_SECRET_TARGETS[one]},src=FILE for its password" for one in mounts),
        ]
        self.moved.append(Moved(f"{where}: {shown}", origin, "; ".join(notes) or "nothing: no declaration is needed"))
        return True

    def _checked(self, found: Meaning, mounts: tuple[str, ...]) -> Meaning:
        """The meaning, if everything that it names is there and nothing contradicts what is declared.

        Raises:
            NotUnderstood: with the reason.
        """
        unknown = [one for one in mounts if one not in _SECRET_TARGETS]
        if unknown:
            raise NotUnderstood(f"it reads the secret {unknown[0]}")
        for _, path in found.includes:
            if self.files.read(posixpath.normpath(self.folder + path)) is None:
                raise NotUnderstood(f"there is no file {path}")
        for line in found.requirements:
            place = line.removeprefix("-e ").partition("[")[0]
            if place.startswith((".", "/")) and not self._is_there(place):
                raise NotUnderstood(f"there is no {place} in the project")
        declared = self._declared()
        for line in found.requirements:
            name = _name(line)
            if name in declared and _plain(line) not in (declared[name], name):
                raise NotUnderstood(f"{name} is declared as {redact_urls(declared[name])} already; one of the two must go")
        self._readable(found)
        return found

    def _is_there(self, place: str) -> bool:
        path = posixpath.normpath(posixpath.join(self.folder, place))
        return path == "." or self.files.is_folder(path) or self.files.read(path) is not None

    def _readable(self, found: Meaning) -> None:
        text = "\n".join([*found.options, *found.requirements])
        try:
            requirements_txt.parse("requirements.txt", _Beside(text, self.files), self.environ)
        except LadingError as error:
            raise NotUnderstood(redact_urls(error.problems[0].what.rstrip("."))) from error

    def _declared(self) -> dict[str, str]:
        """The requirements so far, by name, as written."""
        path = self._requirements_path()
        content = self.files.read(path)
        lines = [*(Text.of(path, content).text.splitlines() if content else ()), *self.lines]
        plain = (_plain(line) for line in lines if line.strip() and not line.lstrip().startswith(("#", "-")))
        return {_name(line): line for line in plain}

    def _take(self, found: Meaning, comment: str) -> None:
        declared = self._declared()
        new = [line for line in found.requirements if line.startswith("-e ") or _name(line) not in declared]
        excluded = tuple(name for name in self.whole.excluded if name not in {_name(line) for line in new})
        self.whole = replace(self.whole, excluded=excluded).and_then(found)
        self.lines += [f"{kind} {path}" for kind, path in found.includes if f"{kind} {path}" not in self.lines]
        self.lines += [option for option in found.options if option not in self.lines]
        self.lines += [f"{line}  {comment}" if comment and number == 0 else line for number, line in enumerate(new)]

    def _requirements_path(self) -> str:
        return self.target or f"{self.folder}requirements.txt"

    def finish(self, content: bytes) -> Migration:
        """Put the changes together."""
        settings = UvSettings(no_isolation=self.whole.no_isolation, excluded=self.whole.excluded, variables=self.whole.build_variables)
        changes = []
        if settings:
            pyproject = self.files.read(PYPROJECT)
            if conflicting := taken(pyproject, settings):
                raise CannotEdit(f"pyproject.toml has {', '.join(conflicting)} under [tool.uv] already")
            changes.append(write_settings(pyproject, settings))
        if any(line and not line.startswith("#") for line in self.lines):
            changes.append(self._requirements_change())
        self._system_packages()
        text = edited(self.source.text, self.edits)
        if text != self.source.text:
            changes.append(self.source.changed(text, content))
        return Migration(changes=tuple(reversed(changes)), moved=tuple(self.moved), left=tuple(self.left))

    def _requirements_change(self) -> Change:
        path = self._requirements_path()
        content = self.files.read(path)
        if self.target is None:
            self._name_requirements(path)
        source = Text.of(path, content) if content is not None else Text(path, "")
        newline = source.newline if content is not None else self.source.newline
        text = source.text + (newline if source.text and not source.text.endswith("\n") else "")
        while self.lines and not self.lines[0]:
            self.lines.pop(0)
        return source.changed(text + "".join(f"{line}{newline}" for line in self.lines), content)

    def _name_requirements(self, path: str) -> None:
        """Add ``python_requirements`` as the first key of ``build``."""
        name = path.removeprefix(self.folder)
        self._insert_key(f"python_requirements: {name}")

    def _insert_key(self, *lines: str) -> None:
        build = entry(root_of(self.source.text), "build")
        if build is None or not isinstance(build[1], yaml.MappingNode) or build[1].flow_style or not build[1].value:
            raise CannotEdit("build is not written as a map of keys on lines of their own")
        first = build[1].value[0][0].start_mark
        indent = lines_of(self.source.text)[first.line][: first.column]
        self.edits.append((first.line, first.line, "".join(f"{indent}{line}{self.source.newline}" for line in lines)))

    def _system_packages(self) -> None:
        found = listing(self.source.text, self.build, "system_packages") if self.build is not None else None
        declared = {word for item in found.items for word in str(item.node.value).split()} if found else set()
        added = [name for name in self.whole.system_packages if name not in declared]
        if not added:
            return
        if found and found.items:
            self.edits += with_items(self.source.text, found, added)
        else:
            self._insert_key("system_packages:", *(f"  - {name}" for name in added))


class _Beside:
    """A project with one more file: a requirements.txt that is only tried."""

    def __init__(self, text: str, files: ProjectFiles) -> None:
        self._content, self._files = text.encode(), files

    def read(self, path: str) -> bytes | None:
        return self._content if path == "requirements.txt" else self._files.read(path)

    def entries(self, folder: str = "") -> tuple[str, ...]:
        return self._files.entries(folder)

    def is_folder(self, path: str) -> bool:
        return self._files.is_folder(path)


def _requirement_lines(item: Item) -> list[str]:
    if not isinstance(item.node, yaml.ScalarNode):
        raise CannotEdit("an item of python_packages is no text")
    lines = str(item.node.value).strip().splitlines() or [""]
    beside = f"  {item.beside}" if item.beside else ""
    return [*item.above, *lines[:-1], f"{lines[-1]}{beside}"]


def _command_of(node: yaml.Node) -> tuple[str, tuple[str, ...]]:
    """A command's text, and the file names of the secrets that are mounted for it."""
    if isinstance(node, yaml.ScalarNode):
        return str(node.value), ()
    found = entry(node, "command")
    mounts = entry(node, "mounts")
    targets = [entry(mount, "target") for mount in mounts[1].value] if mounts and isinstance(mounts[1], yaml.SequenceNode) else []
    names = tuple(posixpath.basename(str(target[1].value)) if target else "?" for target in targets)
    return (str(found[1].value) if found and isinstance(found[1], yaml.ScalarNode) else ""), names


def _name(line: str) -> str:
    found = _NAME.match(line)
    return canonical(found[0]) if found and "://" not in line.partition(" @ ")[0] else line


def _plain(line: str) -> str:
    """A requirement without its comment and its spaces, to compare it."""
    return re.sub(r"\s+", "", re.sub(r"(^|\s+)#.*$", "", line)).lower()


def _became(found: Meaning, path: str) -> Iterable[str]:
    count = len(found.requirements) + len(found.options) + len(found.includes)
    if count:
        yield f"{count} line{'' if count == 1 else 's'} in {path}"
    if found.system_packages:
        yield f"system_packages: {' '.join(found.system_packages)}"
    if found.no_isolation:
        yield f"no-build-isolation-package in pyproject.toml: {' '.join(found.no_isolation)}"
    if found.excluded:
        yield f"exclude-dependencies in pyproject.toml: {' '.join(found.excluded)}"
    if found.build_variables:
        yield f"extra-build-variables in pyproject.toml: {', '.join(sorted({name for _, name, _ in found.build_variables}))}"
