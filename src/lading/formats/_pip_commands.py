"""What a command of ``build.run`` or of an install script is for: ``pip install``, ``apt-get install``, or copying a pip.conf."""

from __future__ import annotations

import posixpath
import re

from lading.formats._shell import Command, NotUnderstood, Redirection, commands
from lading.model.names import canonical
from lading.model.records import dataclass, field, replace

_PIP = re.compile(r"(?:.*/)?pip(?:3(?:\.\d+)?)?")
_PYTHON = re.compile(r"(?:.*/)?python(?:3(?:\.\d+)?)?")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
# Options that change nothing about what is installed in a fresh environment.
_NO_EFFECT = frozenset(
    [
        "-q",
        "--quiet",
        "-qq",
        "-v",
        "--verbose",
        "-vv",
        "-vvv",
        "-U",
        "--upgrade",
        "--no-cache-dir",
        "--no-cache",
        "--disable-pip-version-check",
        "--no-input",
        "--system",
        "--progress-bar=off",
        "--break-system-packages",
        "--ignore-installed",
        "-I",
        "--force-reinstall",
        "--no-warn-script-location",
        "--user",
        "--root-user-action=ignore",
        "--compile",
        "--no-compile",
    ]
)
_NO_EFFECT_WITH_VALUE = frozenset(
    {"--progress-bar", "--timeout", "--default-timeout", "--retries", "--cache-dir", "--root-user-action", "--upgrade-strategy", "--python"}
)
_WITH_VALUE = {
    "-r": "requirement", "--requirement": "requirement", "-c": "constraint", "--constraint": "constraint",
    "-i": "index-url", "--index-url": "index-url", "--extra-index-url": "extra-index-url",
    "-f": "find-links", "--find-links": "find-links", "-e": "editable", "--editable": "editable",
    "--no-binary": "no-binary", "--only-binary": "only-binary", "--trusted-host": "trusted-host",
}  # fmt: skip
_FLAGS = {"--pre": "pre", "--no-index": "no-index", "--prefer-binary": "prefer-binary", "--no-build-isolation": "no-build-isolation"}
_SHORT = re.compile(r"-([rcife])(.+)")
_APT = re.compile(r"apt(?:-get)?")
_APT_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*(?::[a-z0-9]+)?(?:[=/][A-Za-z0-9.+:~-]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a command does, as declarations would say it.

    ``requirements`` are lines of a requirements file, ``options`` lines that hold for the whole file, ``includes`` are (``-r`` or ``-c``,
    path). ``no_isolation`` and ``excluded`` are names of packages, ``build_variables`` (package, variable, value). ``copies_pip_conf`` is the
    copied file. ``dropped`` says in words what needs no declaration.
    """

    requirements: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    includes: tuple[tuple[str, str], ...] = ()
    system_packages: tuple[str, ...] = ()
    no_isolation: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    build_variables: tuple[tuple[str, str, str], ...] = ()
    copies_pip_conf: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def and_then(self, other: Meaning) -> Meaning:
        """Both, one after the other."""
        return Meaning(**{name: tuple(dict.fromkeys((*getattr(self, name), *getattr(other, name)))) for name in self.__slots__})

    @property
    def is_harmless(self) -> bool:
        """Whether nothing is left to run: only system packages and copies of a pip.conf, which Lading checks and reads itself."""
        return not (self.requirements or self.options or self.includes or self.no_isolation or self.excluded)


def meaning(text: str) -> Meaning:
    """What a command line or a script does.

    Raises:
        NotUnderstood: if any part of it does something else, or cannot be known without running it.
    """
    whole = Meaning()
    for command in commands(text):
        whole = whole.and_then(_meaning(command))
    return whole


def mistaken_redirections(text: str) -> tuple[str, ...]:
    """Requirements that a shell takes apart because they are not quoted: ``x>=1.2`` in ``pip install x>=1.2``."""
    try:
        found = commands(text)
    except NotUnderstood:
        return ()
    spoiled = []
    for command in found:
        if _arguments(command.words) is not None:
            spoiled += [f"{one.glued}{one.operator}{one.target}" for one in command.redirections if _is_version(one)]
    return tuple(spoiled)


def _is_version(redirection: Redirection) -> bool:
    return bool(redirection.glued and redirection.operator in (">", ">>", "<") and re.match(r"=?\d", redirection.target))


def _meaning(command: Command) -> Meaning:
    words = command.words[1:] if command.words[:1] == ("sudo",) else command.words
    if not words:
        return Meaning(dropped=(command.text,))  # a variable for a shell that does nothing else
    if mistaken := [one for one in command.redirections if _is_version(one)]:
        raise NotUnderstood(f"`{mistaken[0].glued}{mistaken[0].operator}{mistaken[0].target}` is not quoted, so the shell takes it apart")
    if command.redirections and not all(one.target == "/dev/null" or one.operator.endswith("&") for one in command.redirections):
        raise NotUnderstood(f"it writes to {command.redirections[0].target}")
    arguments = _arguments(words)
    if arguments is not None:
        return _with_variables(_pip(arguments), command)
    return _system(words, command)


def _arguments(words: tuple[str, ...]) -> tuple[str, ...] | None:
    """What follows ``pip`` in one of its spellings; None for another program."""
    if words[:1] and words[0] == "sudo":
        words = words[1:]
    if words[:1] and _PIP.fullmatch(words[0]):
        return words[1:]
    if words[:1] and _PYTHON.fullmatch(words[0]) and words[1:3] == ("-m", "pip"):
        return words[3:]
    if words[:2] == ("uv", "pip"):
        return words[2:]
    return None


def _with_variables(found: Meaning, command: Command) -> Meaning:
    """With the variables that are set for the command as variables of each package's build."""
    kept = [
        one for one in command.assignments if not one.startswith(("PIP_NO_CACHE_DIR=", "PIP_ROOT_USER_ACTION=", "DEBIAN_FRONTEND=", "UV_"))
    ]
    if not kept:
        return found
    named = [match[0] for line in found.requirements if (match := _NAME.match(line))]
    if len(named) != len(found.requirements) or not named or any("$" in one for one in kept):
        raise NotUnderstood(f"{kept[0].partition('=')[0]} is set for it")
    pairs = [one.partition("=") for one in kept]
    variables = tuple((canonical(package), name, value) for package in named for name, _, value in pairs)
    return replace(found, build_variables=variables)


def _pip(arguments: tuple[str, ...]) -> Meaning:
    verb, rest = next(((word, arguments[number + 1 :]) for number, word in enumerate(arguments) if not word.startswith("-")), ("", ()))
    if verb == "install":
        return _Install().read(rest)
    if verb == "uninstall":
        names = [word for word in rest if not word.startswith("-")]
        if all(_NAME.fullmatch(name) for name in names):
            return Meaning(excluded=tuple(canonical(name) for name in names))
    if verb in ("cache", "list", "freeze", "check", "--version", "show"):
        return Meaning(dropped=(f"pip {verb}",))
    raise NotUnderstood(f"`pip {verb}` is no installation" if verb else "pip without a command")


@dataclass(slots=True)
class _Install:
    """The arguments of one ``pip install``."""

    packages: list[str] = field(default_factory=list)
    values: list[tuple[str, str]] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)

    def read(self, words: tuple[str, ...]) -> Meaning:
        rest = list(words)
        while rest:
            self._one(rest.pop(0), rest)
        return self._meaning()

    def _one(self, word: str, rest: list[str]) -> None:
        option, equals, value = word.partition("=")
        short = _SHORT.fullmatch(word)
        if word in _NO_EFFECT:
            return
        if word in _FLAGS:
            self.flags.append(_FLAGS[word])
        elif option in _NO_EFFECT_WITH_VALUE:
            _ = value if equals else _next(rest, option)
        elif word in _WITH_VALUE:
            self.values.append((_WITH_VALUE[word], _next(rest, word)))
        elif equals and option in _WITH_VALUE and option.startswith("--"):
            self.values.append((_WITH_VALUE[option], value))
        elif short:
            self.values.append((_WITH_VALUE[f"-{short[1]}"], short[2]))
        elif word.startswith("-"):
            raise NotUnderstood(f"{option} cannot be written as a declaration")
        elif "$" in word.replace("${", "", 1) and not re.fullmatch(r"[^$]*(\$\{[A-Z0-9_]+\}[^$]*)+", word):
            raise NotUnderstood(f"{word} depends on a variable of the shell")
        else:
            self.packages.append(word)

    def _meaning(self) -> Meaning:
        own = [_VALUE_LINES[kind].format(value) for kind, value in self.values if kind in ("index-url", "find-links") and self.packages]
        lines = [" ".join([package, *(own if _from_index(package) else [])]) for package in self.packages if not _is_pip(package)]
        dropped = [package for package in self.packages if _is_pip(package)]
        named = [found[0] for package in self.packages if (found := _NAME.match(package)) and not _is_pip(package)]
        no_isolation = "no-build-isolation" in self.flags
        if no_isolation and (len(named) != len(lines) or any(kind in ("editable", "requirement") for kind, _ in self.values)):
            raise NotUnderstood("--no-build-isolation for something that has no name")
        if "no-index" in self.flags:
            raise NotUnderstood("--no-index for one command cannot be written as a declaration")
        return Meaning(
            requirements=(*lines, *(f"-e {value}" for kind, value in self.values if kind == "editable")),
            options=(
                *(
                    _VALUE_LINES[kind].format(value)
                    for kind, value in self.values
                    if kind in _VALUE_LINES and _VALUE_LINES[kind].format(value) not in own
                ),
                *(f"--{flag}" for flag in self.flags if flag != "no-build-isolation"),
            ),
            includes=tuple(
                ("-r" if kind == "requirement" else "-c", value) for kind, value in self.values if kind in ("requirement", "constraint")
            ),
            no_isolation=tuple(canonical(name) for name in named) if no_isolation else (),
            dropped=tuple(f"pip install {package}" for package in dropped),
        )


_VALUE_LINES = {
    "index-url": "--index-url {}",
    "extra-index-url": "--extra-index-url {}",
    "find-links": "--find-links {}",
    "no-binary": "--no-binary {}",
    "only-binary": "--only-binary {}",
    "trusted-host": "--trusted-host {}",
}


def _next(rest: list[str], option: str) -> str:
    if not rest:
        raise NotUnderstood(f"{option} has no value")
    return rest.pop(0)


def _from_index(package: str) -> bool:
    return "://" not in package and not package.startswith((".", "/")) and " @ " not in package


def _is_pip(package: str) -> bool:
    """Pip itself: the environments have none and need none."""
    found = _NAME.match(package)
    return found is not None and found[0] == "pip"


def _system(words: tuple[str, ...], command: Command) -> Meaning:
    program = posixpath.basename(words[0])
    if _APT.fullmatch(program):
        return _apt(words[1:])
    if program in ("set", "true", ":", "echo", "shopt") or (program == "export" and "DEBIAN_FRONTEND" in command.text):
        return Meaning(dropped=(command.text,))
    if program == "rm" and all(
        word.startswith(("-", "/var/lib/apt/lists", "/var/cache/apt", "/root/.cache", "~/.cache")) for word in words[1:]
    ):
        return Meaning(dropped=(command.text,))
    targets = [word for word in words[1:] if not word.startswith("-")]
    if program in ("cp", "mv", "install", "ln") and len(targets) == 2 and _is_pip_conf(targets[0]) and "pip" in targets[1]:
        return Meaning(copies_pip_conf=(targets[0],))
    if program == "mkdir" and all("pip" in target for target in targets):
        return Meaning(dropped=(command.text,))
    raise NotUnderstood(f"`{program}` is neither pip nor apt-get")


def _is_pip_conf(path: str) -> bool:
    return posixpath.basename(path) in ("pip.conf", "pip.ini", ".pip.conf")


def _apt(words: tuple[str, ...]) -> Meaning:
    verb = next((word for word in words if not word.startswith("-")), "")
    if verb in ("update", "clean", "autoclean", "autoremove"):
        return Meaning(dropped=(f"apt-get {verb}",))
    names = [word for word in words[words.index(verb) + 1 :] if not word.startswith("-")] if verb == "install" else []
    if verb != "install" or any("$" in name or name.startswith(("/", ".")) for name in names):
        raise NotUnderstood(f"`apt-get {verb}` does more than to install packages")
    wrong = [name for name in names if not _APT_PACKAGE.fullmatch(name)]
    if wrong:
        raise NotUnderstood(f"`{wrong[0]}` is not the name of a Debian package")
    return Meaning(system_packages=tuple(names))
