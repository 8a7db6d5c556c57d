"""``cog.yaml``: Cog's configuration (https://cog.run/yaml), with every mistake named by its line.

Cog drops unknown keys in silence and stops at the first error; here every key is checked, and all problems of the file are shown at
once. What Cog does and Lading does not do is said in a Decision, or refused where the predictor could not work without it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lading.formats._apt import apt_problem, is_apt_package
from lading.formats._checks import Checker
from lading.formats._cog_observability import read_observability
from lading.formats._cog_weights import read_weights
from lading.formats._line import Include, Reader
from lading.formats._logical import logical_lines
from lading.formats._pip_commands import mistaken_redirections
from lading.formats._place import NO_VARIABLES
from lading.formats._python import exact_request
from lading.formats._together import conflicting_pins
from lading.formats._yaml import Entry, Map, Node, Scalar, kind_of, read_yaml, shortened
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.model.project import Api, ProjectConfig, ProjectKind, Style
from lading.model.records import replace
from lading.model.requirements import Declared
from lading.model.secrets import redact_urls
from lading.model.target import PythonRequest

name = "cog.yaml"

_TOP = ("build", "run", "predict", "train", "image", "model", "concurrency", "environment", "weights", "observability", "tests")
_BUILD = (
    "python_version",
    "python_requirements",
    "python_packages",
    "system_packages",
    "run",
    "pre_install",
    "gpu",
    "cuda",
    "cudnn",
    "sdk_version",
    "fast",
    "python_overrides",
    "environment",
)
_RESERVED = (
    "PATH",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "PYTHONUNBUFFERED",
    "LIBRARY_PATH",
    "HF_ENDPOINT",
    "HF_HUB_ENABLE_HF_TRANSFER",
)
_RESERVED_PREFIXES = ("R8_", "REPLICATE_", "CUDA_", "NVIDIA_", "NV_", "PGET_", "KUBERNETES_")
_CUDA = re.compile(r"[0-9]+\.[0-9]+(\.[0-9]+)?")


def recognises(path: str) -> bool:
    """Whether a file's name is Cog's."""
    return path.rsplit("/", 1)[-1] == name


def parse_config(path: str, files: ProjectFiles, environ: Mapping[str, str] = NO_VARIABLES) -> ProjectConfig:
    """Read a cog.yaml.

    Args:
        path: The file, relative to the project's root. The paths in it are relative to its folder.
        files: The project.
        environ: The variables for ``${NAME}`` in ``python_packages``.

    Raises:
        LadingError: with every problem of the file.
    """
    config = _Config(path, files, environ)
    root = read_yaml(path, files, config.check.problems)
    if not isinstance(root, Map):
        raise LadingError(_not_a_config(path, root))
    return config.read(root)


def _not_a_config(path: str, root: Node | None) -> Problem:
    if root is None:
        what, why = f"{path} is empty.", None
    else:
        what, why = f"{path} must hold keys such as build: and predict:, and it is {kind_of(root)}.", None
        if isinstance(root, Scalar) and re.match(r"\w+:\S", root.text):
            why = "A colon needs a space after it; without one, the line is a plain text."
    return Problem(
        rule="config-not-a-map",
        what=what,
        origin=Origin(path, root.line if root else 1),
        why=why,
        instead="Write, for example: predict: predict.py:Predictor",
    )


class _Config:
    """One cog.yaml while it is read."""

    def __init__(self, path: str, files: ProjectFiles, environ: Mapping[str, str]) -> None:
        self.path = path
        self.check = Checker(path, files)
        self.lines = Reader(files, environ)
        self.decisions: list[Decision] = []

    def read(self, root: Map) -> ProjectConfig:
        """All of the file.

        Raises:
            LadingError: with every problem.
        """
        check = self.check
        check.known_keys(root, _TOP, self.path)
        build = check.section(root.get("build"), "build") or Map((), root.line)
        check.known_keys(build, _BUILD, "build")
        env = (*self._environment(root.get("environment")), *read_observability(check, root.get("observability")))
        apis = self._apis(root, env, self._concurrency(root.get("concurrency")))
        train = self._api(root.get("train"), "train", env)
        packages = self._packages(build)
        config = ProjectConfig(
            kind=ProjectKind.COG,
            path=self.path,
            apis=apis,
            train=train,
            requirements=check.file_ref(build.get("python_requirements"), "build.python_requirements", "requirements file"),
            packages=packages,
            options=self.lines.options.frozen(),
            python=self._python(build.get("python_version")),
            gpu=check.flag(build.get("gpu"), "build.gpu") or False,
            cuda=self._cuda(build),
            system_packages=self._system_packages(build.get("system_packages")),
            run=self._commands(build),
            weights=read_weights(check, root.get("weights")),
        )
        self._without_effect(root, build)
        check.finish()
        return replace(config, decisions=tuple(dict.fromkeys((*self.decisions, *self.lines.options.decisions))))

    def _apis(self, root: Map, env: tuple[tuple[str, str], ...], threads: int) -> tuple[Api, ...]:
        run, predict = root.get("run"), root.get("predict")
        if run and predict:
            self.check.problem(
                "run-and-predict",
                max(run.line, predict.line),
                f"Both run (line {run.line}) and predict (line {predict.line}) name a predictor.",
                why="run is the newer name of the same key.",
                instead="Keep one of them.",
            )
        entry = run or predict
        api = self._api(entry, entry.key if entry else "", env, threads)
        return (api,) if api else ()

    def _api(self, entry: Entry | None, key: str, env: tuple[tuple[str, str], ...], threads: int = 1) -> Api | None:
        found = self.check.predictor(entry, key)
        if found is None:
            return None
        file, written, line = found
        stem = file.rsplit("/", 1)[-1].removesuffix(".py").replace("_", "-")
        return Api(name=stem, style=Style.COG, file=file, object=written, origin=self.check.origin(line), env=env, threads=threads)

    def _concurrency(self, entry: Entry | None) -> int:
        section = self.check.section(entry, "concurrency")
        if section is None:
            return 1
        self.check.known_keys(section, ("max", "default_target"), "concurrency")
        found = section.get("max")
        if found is None:
            return 1
        if isinstance(found.value, Scalar) and type(found.value.value) is int and found.value.value >= 1:
            return found.value.value
        self.check.wrong_type(found, "concurrency.max", "a whole number of at least 1", "Write, for example, max: 4.")
        return 1

    def _python(self, entry: Entry | None) -> PythonRequest | None:
        text = self.check.text(entry, "build.python_version", any_scalar=True)
        if entry is None or text is None:
            return None
        origin = self.check.origin(entry.value.line)
        if text.strip().isdigit():
            self.check.problem(
                "python-version-invalid",
                entry.value.line,
                f'build.python_version "{text}" must name a major and a minor version.',
                instead='Write, for example, "3.11".',
            )
            return None
        with self.check.problems.catching():
            exact = exact_request(text.strip(), origin, rule="python-version-invalid", what="build.python_version")
            minor = ".".join(text.strip().split(".")[:2])
            if exact.specifier.endswith(".*"):
                return exact
            self.decisions.append(_any_patch(text, minor, origin))
            return PythonRequest(specifier=f"=={minor}.*", text=text, origin=origin)
        return None

    def _cuda(self, build: Map) -> str | None:
        cuda = self._version(build, "cuda", "11.8")
        self._version(build, "cudnn", "8")
        return cuda

    def _version(self, build: Map, key: str, example: str) -> str | None:
        entry = build.get(key)
        text = self.check.text(entry, f"build.{key}", any_scalar=True)
        if entry is None or text is None:
            return None
        pattern = _CUDA if key == "cuda" else re.compile(r"[0-9]+(\.[0-9]+)*")
        if pattern.fullmatch(text):
            return text
        what = f'build.{key} "{shortened(text)}" is not a version.'
        self.check.problem("cuda-version-invalid", entry.value.line, what, instead=f'Write, for example, "{example}".')
        return None

    def _packages(self, build: Map) -> tuple[Declared, ...]:
        entry = build.get("python_packages")
        other = build.get("python_requirements")
        found: list[Declared] = []
        for text, line in self.check.texts(entry, "build.python_packages"):
            with self.check.problems.catching():
                found += self._package_lines(text, self.check.origin(line))
        if found and entry and other:
            self.check.problem(
                "packages-and-requirements",
                max(entry.line, other.line),
                f"Both python_packages (line {entry.line}) and python_requirements (line {other.line}) declare dependencies.",
                why="Only one of them can count.",
                instead="Move the packages into the requirements file, and delete python_packages.",
            )
        self.check.problems.add(*conflicting_pins(found))
        return tuple(found)

    def _package_lines(self, text: str, origin: Origin) -> list[Declared]:
        """The requirements of one list item; an item that holds options only has none."""
        found = []
        for line in logical_lines(text):
            declared = self.lines.read(line.text, origin, raw=line.raw)
            if isinstance(declared, Include):
                raise LadingError(_include_in_list(line.raw, origin))
            if declared is not None:
                found.append(declared)
        return found

    def _environment(self, entry: Entry | None) -> tuple[tuple[str, str], ...]:
        values: dict[str, str] = {}
        for text, line in self.check.texts(entry, "environment"):
            variable, equals, value = text.partition("=")
            what, instead = self._refused_variable(variable, equals, values)
            if what:
                self.check.problem("environment-invalid", line, what, instead=instead)
            else:
                values[variable] = value
        return tuple(values.items())

    def _refused_variable(self, variable: str, equals: str, values: Mapping[str, str]) -> tuple[str | None, str]:
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
            return "Each item of environment must be NAME=value, and this one is not.", "Write - NAME=value."
        if variable in values:
            return f"The variable {variable} is set twice.", "Keep one of the two."
        if variable in _RESERVED or variable.startswith(_RESERVED_PREFIXES):
            return f"The variable {variable} is reserved: Cog does not let a configuration set it.", "Set it where the server is started."
        return None, ""

    def _system_packages(self, entry: Entry | None) -> tuple[str, ...]:
        found: list[str] = []
        for text, line in self.check.texts(entry, "build.system_packages"):
            for word in text.split():
                if is_apt_package(word):
                    found.append(word)
                else:
                    self.check.problems.add(apt_problem(word, self.check.origin(line)))
        return tuple(dict.fromkeys(found))

    def _commands(self, build: Map) -> tuple[str, ...]:
        commands = [*self._command_list(build.get("run"), "build.run"), *self._command_list(build.get("pre_install"), "build.pre_install")]
        if commands:
            self.decisions.append(_not_run(commands, self.check.origin((build.get("run") or build.get("pre_install") or build).line)))
        return tuple(commands)

    def _command_list(self, entry: Entry | None, where: str) -> list[str]:
        commands = []
        for item in self.check.items(entry, where):
            command = self._command(item, where)
            if command is not None and "\n" in command.strip():
                self.check.problem(
                    "command-of-several-lines", item.line, f"A command of {where} must be one line.", instead="Join the commands with &&."
                )
            elif command:
                commands.append(command.strip())
                self.decisions += [_taken_apart(one, command, self.check.origin(item.line)) for one in mistaken_redirections(command)]
        return commands

    def _command(self, item: Node, where: str) -> str | None:
        if isinstance(item, Map):
            self.check.known_keys(item, ("command", "mounts"), f"A command of {where}")
            found = item.get("command")
            if found is None:
                self.check.problem(
                    "command-missing", item.line, f"A command of {where} has no command key.", instead="Write - command: ..."
                )
            self._mounts(item.get("mounts"), where)
            return self.check.text(found, f"{where}.command")
        if isinstance(item, Scalar) and isinstance(item.value, str):
            return item.value
        what = f"Each command of {where} must be a text or a map with a command key, and this one is {kind_of(item)}."
        self.check.problem("wrong-type", item.line, what, instead="Write - command text.")
        return None

    def _mounts(self, entry: Entry | None, where: str) -> None:
        for mount in self.check.items(entry, f"{where}.mounts"):
            if not isinstance(mount, Map):
                what = f"A mount of {where} must have the keys type, id and target, and it is {kind_of(mount)}."
                self.check.problem("wrong-type", mount.line, what, instead="Write - type: secret, with id: and target: below.")
                continue
            self.check.known_keys(mount, ("type", "id", "target"), f"A mount of {where}")
            for key in ("type", "id", "target"):
                text = self.check.text(mount.get(key), f"{where}.mounts.{key}")
                if text is None and mount.get(key) is None:
                    self.check.problem("mount-incomplete", mount.line, f"A mount of {where} has no {key}.", instead=f"Add {key}: ...")
                elif key == "type" and text not in (None, "secret"):
                    self.check.problem(
                        "mount-type", mount.line, f'A mount of {where} must be of type secret, not "{text}".', instead="type: secret"
                    )

    def _without_effect(self, root: Map, build: Map) -> None:
        """Keys that this version checks or refuses, and does not act on."""
        for key in ("image", "model"):
            self.check.text(root.get(key), key)
        overrides = build.get("python_overrides")
        if overrides and not (isinstance(overrides.value, Scalar) and overrides.value.value is None):
            self.check.problem(
                "python-overrides-not-supported",
                overrides.line,
                "build.python_overrides is not read by this version of Lading.",
                instead="Pin the packages in the requirements.",
            )
        self._build_environment(build.get("environment"))
        for key in ("sdk_version", "fast"):
            entry = build.get(key)
            if entry:
                self.decisions.append(_no_effect(f"build.{key}", entry, self.check.origin(entry.line)))

    def _build_environment(self, entry: Entry | None) -> None:
        if self._environment(entry) and entry:
            self.check.problem(
                "build-environment-not-supported",
                entry.line,
                "build.environment is not read by this version of Lading.",
                instead="Move the variables to environment, or set them where Lading is started.",
            )


def _include_in_list(raw: str, origin: Origin) -> Problem:
    return Problem(
        rule="include-in-list",
        what=f"python_packages lists packages, and this item names a file: {redact_urls(raw)}",
        origin=origin,
        instead="Name the file as build.python_requirements, and move the packages into it.",
    )


def _any_patch(text: str, minor: str, origin: Origin) -> Decision:
    return Decision(
        rule="python-patch-open",
        kind=Kind.CHOSEN,
        subject="python",
        asked=text,
        chose=f"any {minor}",
        because="patch releases are compatible, and Cog too looks at the first two numbers only",
        origin=origin,
        instead=f"--python {text}",
    )


def _not_run(commands: list[str], origin: Origin) -> Decision:
    return Decision(
        rule="commands-not-run",
        kind=Kind.ADVICE,
        subject="build.run",
        asked=redact_urls("; ".join(commands)),
        chose="shown, not run",
        because="they were written for an image of Cog's, and would change this machine",
        origin=origin,
        instead="declarations in their place; `lading migrate` writes those that it understands",
    )


def _taken_apart(requirement: str, command: str, origin: Origin) -> Decision:
    name, operator = requirement.partition(">")[0].partition("<")[0], ">" if ">" in requirement else "<"
    file = requirement.partition(operator)[2]
    happens = f"writes what pip prints to a file named {file}" if operator == ">" else f"looks for a file named {file}"
    return Decision(
        rule="unquoted-requirement",
        kind=Kind.ADVICE,
        subject=name,
        asked=shortened(redact_urls(command)),
        chose=f"the shell installs {name} of any version and {happens}",
        because=f"`{operator}` in {requirement} is a redirection for a shell where it is not quoted",
        origin=origin,
        instead=f'"{requirement}" in quotes, or in the requirements (`lading migrate`)',
    )


def _no_effect(what: str, entry: Entry, origin: Origin) -> Decision:
    asked = entry.value.text if isinstance(entry.value, Scalar) else kind_of(entry.value)
    return Decision(
        rule="key-without-effect",
        kind=Kind.ADVICE,
        subject=what,
        asked=f"{what}: {shortened(asked)}",
        chose="no effect",
        because="it configures Cog's own server or uploads, which Lading does not use",
        origin=origin,
    )
