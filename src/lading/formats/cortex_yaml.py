"""``cortex.yaml``: a list of APIs, as Cortex 0.30 to 0.33 read it (pkg/types/spec/validations.go of v0.32.0).

This version serves ``RealtimeAPI`` with the python predictor; every other kind is named and refused. Settings that only a cluster can
follow (compute, autoscaling, update strategy) are checked, and a Decision says that they have no effect here.
"""

from __future__ import annotations

import re
from typing import Any

from lading.formats._checks import Checker
from lading.formats._cortex_fields import Fields, check_autoscaling, check_compute, check_update_strategy
from lading.formats._paths import joined, outside
from lading.formats._text import missing_file
from lading.formats._yaml import Map, Node, Scalar, Sequence, kind_of, plain_value, read_yaml, shortened
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.model.project import Api, Dependencies, PathRef, ProjectConfig, ProjectKind, Style

name = "cortex.yaml"

_KINDS = ("RealtimeAPI", "BatchAPI", "TrafficSplitter", "TaskAPI", "AsyncAPI")
_TYPES = ("python", "tensorflow", "onnx")
_TOP = ("name", "kind", "predictor", "networking", "compute", "autoscaling", "update_strategy")
_OLD_TOP = ("monitoring", "tracker")
_OLD_NETWORKING = ("api_gateway", "local_port")
_PREDICTOR = (
    "type",
    "path",
    "protobuf_path",
    "dependencies",
    "python_path",
    "image",
    "tensorflow_serving_image",
    "processes_per_replica",
    "threads_per_process",
    "shm_size",
    "log_level",
    "config",
    "env",
    "models",
    "multi_model_reloading",
    "server_side_batching",
)
_OLD_PREDICTOR = ("model_path", "model", "signature_key", "python_path")
_NEWER = {"handler": "0.34 and 0.35", "pod": "0.36 and later"}
_DEFAULTS = {"pip": "requirements.txt", "conda": "conda-packages.txt", "shell": "dependencies.sh"}
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_ENDPOINT = re.compile(r"/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*/?")


def recognises(path: str) -> bool:
    """Whether a file's name is Cortex's."""
    return path.rsplit("/", 1)[-1] == name


def parse_config(path: str, files: ProjectFiles) -> ProjectConfig:
    """Read a cortex.yaml. The paths in it are relative to its folder, which is the project of Cortex.

    Raises:
        LadingError: with every problem of the file.
    """
    config = _Config(path, files)
    root = read_yaml(path, files, config.check.problems)
    if not isinstance(root, Sequence) or not root.items:
        raise LadingError(_not_a_list(path, root))
    apis = [api for index, item in enumerate(root.items) if (api := config.api(item, index)) is not None]
    config.check_unique(apis)
    config.check.finish()
    return ProjectConfig(
        kind=ProjectKind.CORTEX, path=path, apis=tuple(apis), gpu=config.gpu, decisions=tuple(dict.fromkeys(config.all_decisions()))
    )


def _not_a_list(path: str, root: Node | None) -> Problem:
    what = f"{path} is empty." if root is None else f"{path} must be a list of APIs, and it is {kind_of(root)}."
    if isinstance(root, Sequence):
        what = f"{path} lists no API."
    return Problem(
        rule="config-not-a-list",
        what=what,
        origin=Origin(path, root.line if root else 1),
        why="Each API begins with a hyphen." if isinstance(root, Map) else None,
        instead="Begin with `- name: my-api`, and indent the lines below it.",
    )


class _Config:
    """One cortex.yaml while it is read."""

    def __init__(self, path: str, files: ProjectFiles) -> None:
        self.path = path
        self.files = files
        self.folder = path.rpartition("/")[0]
        self.check = Checker(path, files)
        self.decisions: list[Decision] = []
        self.for_clusters: list[tuple[str, int]] = []
        self.gpu = False

    def api(self, item: Node, index: int) -> Api | None:
        """One API, or None when something is wrong with it."""
        if not isinstance(item, Map):
            what = f"resource at index {index}: invalid type (expected a map, got {kind_of(item)})"
            self.check.problem(
                "cortex-config-invalid", item.line, what, instead="Begin with `- name: my-api`, and indent the lines below it."
            )
            return None
        entry = item.get("name")
        written = entry.value.text if entry and isinstance(entry.value, Scalar) else None
        kind_entry = item.get("kind")
        kind = kind_entry.value.text if kind_entry and isinstance(kind_entry.value, Scalar) else None
        where = f"{shortened(written)} ({kind})" if written and kind else (shortened(written or "") or f"resource at index {index}")
        fields = Fields(self.check, item, where)
        api_name = self._name(fields)
        if self._other_dialect(fields) or not self._served_kind(fields):
            return None
        fields.known(_TOP, old=_OLD_TOP)
        self._old_keys(fields, _OLD_TOP)
        endpoint = self._networking(fields, api_name or "")
        return self._realtime(fields, api_name or "", endpoint)

    def _name(self, fields: Fields) -> str | None:
        found = fields.text("name", required=True, instead="Add name: my-api.")
        if found is None:
            return None
        line = fields.line("name")
        if not _NAME.fullmatch(found):
            message = f'"{shortened(found)}" must contain only lower case letters, numbers, and dashes, must start with a letter, and cannot end with a dash'
            fields.problem(message, line, "Write, for example, iris-classifier.", key="name")
        elif found.startswith("b-"):
            fields.problem(f'"{found}" cannot start with "b-"', line, f"Write {found[2:] or 'another name'}.", key="name")
        elif len(found) > 42:
            fields.problem(f'"{found}" must be no more than 42 characters', line, "Shorten the name.", key="name")
        else:
            return found
        return None

    def _other_dialect(self, fields: Fields) -> bool:
        """Configurations of later Cortex versions, which say it by their keys."""
        for key, versions in _NEWER.items():
            if fields.node.get(key):
                message = f"{key} is the configuration of Cortex {versions}, which is not served yet by this version of Lading"
                instead = "Write predictor: with type: python, path: and a PythonPredictor class, as in Cortex 0.33."
                fields.problem(message, fields.line(key), instead, rule="cortex-dialect-not-supported")
                return True
        return False

    def _served_kind(self, fields: Fields) -> bool:
        entry = fields.node.get("kind")
        if entry and isinstance(entry.value, Scalar) and entry.value.text == "SyncAPI":
            fields.problem("SyncAPI was renamed", entry.line, "Write kind: RealtimeAPI.", key="kind")
            return False
        kind = fields.text("kind", required=True, choices=_KINDS, instead="Add kind: RealtimeAPI.")
        if kind is None or kind == "RealtimeAPI":
            return kind is not None
        fields.problem(
            f"{kind} is not served yet by this version of Lading",
            fields.line("kind"),
            "Keep the RealtimeAPIs in a file of their own, and name it with -f.",
            rule="cortex-kind-not-supported",
        )
        return False

    def _networking(self, fields: Fields, api_name: str) -> str:
        section = fields.section("networking") if fields.node.get("networking") else None
        if section is None:
            return f"/{api_name}"
        section.known(("endpoint",), old=_OLD_NETWORKING)
        self._old_keys(section, _OLD_NETWORKING)
        written = section.text("endpoint")
        if written is None:
            return f"/{api_name}"
        line = section.line("endpoint")
        if "//" in written:
            section.problem(f'"{shortened(written)}" cannot contain adjacent slashes', line, "Write one slash.", key="endpoint")
        elif written == "/" or not _ENDPOINT.fullmatch(written) or len(written) > 1000:
            message = f'"{shortened(written)}" is not a valid endpoint'
            section.problem(message, line, f"Write, for example, /{api_name or 'my-api'}.", key="endpoint")
        return "/" + written.strip("/")

    def _old_keys(self, fields: Fields, keys: tuple[str, ...]) -> None:
        """Keys of Cortex before 0.26, which its later versions dropped: kept out of the way, with a note."""
        for key in keys:
            if fields.node.get(key):
                self.decisions.append(_old_key(key, fields.where, self.check.origin(fields.line(key))))

    def _realtime(self, fields: Fields, api_name: str, endpoint: str) -> Api | None:
        predictor = fields.section("predictor", required=True, instead="Add predictor: with type: python and path: predictor.py.")
        if predictor is None or not self._served_type(predictor):
            return None
        predictor.known(_PREDICTOR, old=_OLD_PREDICTOR)
        self._unserved_features(predictor)
        path = self._predictor_path(predictor)
        processes = predictor.integer("processes_per_replica", 1, least=1, most=100)
        threads = predictor.integer("threads_per_process", 1, least=1)
        self._cluster_sections(fields, predictor, processes * threads)
        api = Api(
            name=api_name,
            style=Style.CORTEX,
            file=path or "",
            object="PythonPredictor",
            origin=self.check.origin(predictor.line("path")),
            endpoint=endpoint,
            config=self._config_map(predictor),
            env=self._env(predictor),
            python_path=self._python_path(predictor),
            log_level=predictor.text("log_level", choices=("debug", "info", "warning", "error")) or "info",
            processes=processes,
            threads=threads,
            dependencies=self._dependencies(predictor),
        )
        return api if path and api_name else None

    def _served_type(self, predictor: Fields) -> bool:
        kind = predictor.text("type", required=True, choices=_TYPES, instead="Add type: python.")
        if kind in ("tensorflow", "onnx"):
            predictor.problem(
                f"the {kind} predictor type is not served yet by this version of Lading",
                predictor.line("type"),
                "Write type: python, and load the model in PythonPredictor.__init__.",
                key="type",
                rule="cortex-type-not-supported",
            )
        return kind == "python"

    def _unserved_features(self, predictor: Fields) -> None:
        if predictor.node.get("models"):
            message = "models is not a supported field for the python predictor type"
            predictor.problem(message, predictor.line("models"), "Load the models in PythonPredictor.__init__, and remove the key.")
        for key in ("model_path", "model", "signature_key", "tensorflow_serving_image"):
            if predictor.node.get(key):
                message = f"{key} is not a supported field for the python predictor type"
                predictor.problem(message, predictor.line(key), "Pass it in config:, and read it in PythonPredictor.__init__.")
        features = {
            "protobuf_path": "gRPC",
            "multi_model_reloading": "multi-model reloading",
            "server_side_batching": "server-side batching",
        }
        for key, feature in features.items():
            entry = predictor.node.get(key)
            if entry and not (isinstance(entry.value, Scalar) and entry.value.value is None):
                message = f"{feature} is not served yet by this version of Lading"
                predictor.problem(message, entry.line, f"Remove {key}.", key=key, rule="cortex-feature-not-supported")
        if predictor.text("image"):
            self.decisions.append(_image(predictor.where, self.check.origin(predictor.line("image"))))

    def _predictor_path(self, predictor: Fields) -> str | None:
        written = predictor.text("path", required=True, instead="Add path: predictor.py.")
        if written is None:
            return None
        line = predictor.line("path")
        if not written.endswith(".py"):
            predictor.problem(f'"{shortened(written)}" must end with ".py"', line, "Name the Python file of the predictor.", key="path")
            return None
        path = joined(self.folder, written)
        if not self._inside(path, written, predictor, "path") or self.files.read(path) is not None:
            return path
        self._missing(predictor, "path", written, path)
        return None

    def _inside(self, path: str, written: str, fields: Fields, key: str) -> bool:
        if not outside(path):
            return True
        fields.problem(f"{shortened(written)}: file is outside of the project", fields.line(key), "Move it into the project.", key=key)
        return False

    def _missing(self, fields: Fields, key: str, written: str, path: str) -> None:
        likely = missing_file(path, self.files, self.check.origin(fields.line(key)))
        if likely.rule != "file-not-found":
            self.check.problems.add(likely)
            return
        fields.problem(f"{shortened(written)}: file does not exist", fields.line(key), likely.instead, key=key, rule="file-not-found")

    def _python_path(self, predictor: Fields) -> str | None:
        written = predictor.text("python_path", null=True)
        if written is None:
            return None
        line, path = predictor.line("python_path"), joined(self.folder, written)
        if written in (".", "./", "./."):
            message = f'"{written}" is not allowed, please use a different value'
            predictor.problem(message, line, "Remove the key: the project's folder is on the import path anyway.", key="python_path")
        elif self._inside(path, written, predictor, "python_path") and not self.files.is_folder(path):
            predictor.problem(f"{shortened(written)}: directory does not exist", line, "Correct the path.", key="python_path")
        return path

    def _config_map(self, predictor: Fields) -> dict[str, Any]:
        entry = predictor.node.get("config")
        if entry is None or (isinstance(entry.value, Scalar) and entry.value.value is None):
            return {}
        section = predictor.section("config")
        found = plain_value(section.node) if section else {}
        return found if isinstance(found, dict) else {}

    def _env(self, predictor: Fields) -> tuple[tuple[str, str], ...]:
        section = predictor.section("env") if predictor.node.get("env") else None
        values = []
        for entry in section.node if section else ():
            if entry.key.startswith("CORTEX_"):
                message = "environment variables starting with CORTEX_ are reserved"
                predictor.problem(message, entry.line, "Rename the variable.", key=f"env: {entry.key}")
            elif isinstance(entry.value, Scalar) and isinstance(entry.value.value, str):
                values.append((entry.key, entry.value.value))
            else:
                self._env_type(predictor, entry.key, entry.value)
        return tuple(values)

    def _env_type(self, predictor: Fields, key: str, value: Node) -> None:
        text = value.text if isinstance(value, Scalar) else kind_of(value)
        instead = f'Put it in quotes: {shortened(key)}: "{shortened(text)}"' if isinstance(value, Scalar) else "Write one value."
        predictor.problem(f"{shortened(text)}: invalid type (expected string)", value.line, instead, key=f"env: {shortened(key)}")

    def _dependencies(self, predictor: Fields) -> Dependencies:
        section = predictor.section("dependencies") if predictor.node.get("dependencies") else None
        if section:
            section.known(("pip", "conda", "shell"))
        named = {kind: self._dependency(section, kind) for kind in _DEFAULTS}
        return Dependencies(pip=named["pip"], conda=named["conda"] or self._usual_conda(), shell=named["shell"])

    def _dependency(self, section: Fields | None, kind: str) -> PathRef | None:
        written = section.text(kind) if section and section.node.get(kind) else None
        if section is None or written is None:
            return None
        path = joined(self.folder, written)
        if not self._inside(path, written, section, kind):
            return None
        if self.files.read(path) is None:
            self._missing(section, kind, written, path)
            return None
        return PathRef(path, self.check.origin(section.line(kind)))

    def _usual_conda(self) -> PathRef | None:
        """The list of conda packages that Cortex installs where nothing is said."""
        path = joined(self.folder, _DEFAULTS["conda"])
        return None if self.files.read(path) is None else PathRef(path, Origin(path), explicit=False)

    def _cluster_sections(self, fields: Fields, predictor: Fields, concurrency: int) -> None:
        compute, memory = None, None
        for key in ("compute", "autoscaling", "update_strategy"):
            section = fields.section(key) if fields.node.get(key) else None
            if section is None:
                continue
            self.for_clusters.append((key, section.node.line))
            if key == "compute":
                compute = section
                gpus, memory = check_compute(section)
                self.gpu = self.gpu or gpus > 0
            elif key == "autoscaling":
                check_autoscaling(section, concurrency)
            else:
                check_update_strategy(section)
        self._shared_memory(predictor, compute, memory)

    def _shared_memory(self, predictor: Fields, compute: Fields | None, memory: float | None) -> None:
        shared = predictor.quantity("shm_size", None, least="0")
        if compute is not None and shared is not None and memory is not None and shared > memory:
            message = f"predictor.shm_size ({predictor.written('shm_size')}) cannot exceed compute.mem ({compute.written('mem')})"
            predictor.problem(message, predictor.line("shm_size"), "Lower shm_size, or raise compute.mem.")

    def check_unique(self, apis: list[Api]) -> None:
        """Names and endpoints are each used once."""
        for what in ("name", "endpoint"):
            seen: dict[str, Api] = {}
            for api in apis:
                value = api.name if what == "name" else api.endpoint or ""
                earlier = seen.setdefault(value, api)
                if earlier is not api:
                    message = f'the {what} "{value}" is used by two APIs ({earlier.origin} and {api.origin})'
                    self.check.problem(
                        f"cortex-{what}-twice", api.origin.line or 1, f"{api.name}: {message}", instead="Change one of them."
                    )

    def all_decisions(self) -> list[Decision]:
        """The decisions, with one for all settings that are for clusters."""
        if not self.for_clusters:
            return self.decisions
        keys = ", ".join(dict.fromkeys(key for key, _ in self.for_clusters))
        return [*self.decisions, _for_clusters(keys, self.check.origin(self.for_clusters[0][1]))]


def _old_key(key: str, where: str, origin: Origin) -> Decision:
    return Decision(
        rule="key-without-effect",
        kind=Kind.ADVICE,
        subject=key,
        asked=f"{where}: {key}",
        chose="no effect",
        because="it is a key of Cortex 0.25 and older" + (", from its local server; the port is -p here" if key == "local_port" else ""),
        origin=origin,
        instead="-p PORT" if key == "local_port" else None,
    )


def _image(where: str, origin: Origin) -> Decision:
    return Decision(
        rule="image-not-used",
        kind=Kind.ADVICE,
        subject="predictor.image",
        asked=f"{where}: image",
        chose="an environment on this machine",
        because="Lading builds the environment from the declared dependencies; packages that only the image holds must be declared",
        origin=origin,
    )


def _for_clusters(keys: str, origin: Origin) -> Decision:
    return Decision(
        rule="cluster-settings-not-used",
        kind=Kind.ADVICE,
        subject="cortex.yaml",
        asked=keys,
        chose="no effect",
        because="they are for a cluster, and this serves on one machine",
        origin=origin,
    )
