"""The predictor, handler or task of a Cortex API: everything below ``predictor``, ``handler`` or ``definition``."""

from __future__ import annotations

from typing import Any

from lading.formats import _cortex_notes as notes
from lading.formats._checks import Checker
from lading.formats._cortex_fields import Fields
from lading.formats._cortex_grpc import read_grpc
from lading.formats._cortex_models import read_batching, read_models
from lading.formats._cortex_table import LOG_LEVELS, TYPES, keys
from lading.formats._paths import joined, outside
from lading.formats._text import missing_file
from lading.formats._yaml import Node, Scalar, Sequence, kind_of, plain_value, shortened
from lading.formats.ignore_files import read_cortexignore
from lading.model.cortex import ApiKind, CortexSettings, Grpc, Models, PredictorType
from lading.model.decisions import Decision
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.project import Api, Dependencies, PathRef, Style

_OLD = ("model_path", "model", "signature_key")
_LONGEST_SHOWN = 8
_DEFAULTS = {"pip": "requirements.txt", "conda": "conda-packages.txt", "shell": "dependencies.sh"}
_CLASSES = {PredictorType.PYTHON: "PythonPredictor", PredictorType.TENSORFLOW: "TensorFlowPredictor", PredictorType.ONNX: "ONNXPredictor"}
HANDLER, TASK = "Handler", "Task"


class PredictorReader:
    """Reads one section. ``decisions`` takes what has no effect; ``variables`` are those of ``.env``, which win over ``env``."""

    def __init__(self, check: Checker, files: ProjectFiles, folder: str, variables: dict[str, str]) -> None:
        self.check, self.files, self.folder, self.variables = check, files, folder, variables
        self.ignored = read_cortexignore(files, folder)
        self.decisions: list[Decision] = []

    def read(self, section: Fields, kind: ApiKind, name: str, endpoint: str) -> Api | None:
        """The API; None where its file or type is missing. Every other mistake is kept, and what can be read is."""
        return self._task(section, name, endpoint) if kind is ApiKind.TASK else self._predictor(section, kind, name, endpoint)

    def _predictor(self, predictor: Fields, kind: ApiKind, name: str, endpoint: str) -> Api | None:
        written = predictor.text("type", required=True, choices=TYPES, instead="Add type: python.")
        type_ = PredictorType(written or "python")
        predictor.known(keys("predictor"), old=_OLD)
        path = self._predictor_path(predictor)
        processes = predictor.integer("processes_per_replica", 1, least=1, most=100)
        threads = predictor.integer("threads_per_process", 1, least=1)
        self._one_at_a_time(predictor, kind, processes, threads)
        handler = predictor.where.endswith(": handler")
        common = self._common(predictor)
        if written is None:
            return None  # what the other keys may be depends on it
        settings = self._settings(predictor, kind, type_, processes, threads, name=name, handler=handler)
        if settings.grpc is not None:
            endpoint = f"/{settings.grpc.service}/{settings.grpc.methods[0].name}"
        api = Api(
            name=name,
            style=Style.CORTEX,
            file=path or "",
            object=HANDLER if handler else _CLASSES[type_],
            origin=self.check.origin(predictor.line("path")),
            endpoint=endpoint,
            processes=processes,
            threads=threads,
            cortex=settings,
            **common,
        )
        return api if path and name else None

    def _task(self, definition: Fields, name: str, endpoint: str) -> Api | None:
        definition.known(keys("definition"))
        path = self._predictor_path(definition, any_suffix=True)
        api = Api(
            name=name,
            style=Style.CORTEX,
            file=path or "",
            object=TASK,
            origin=self.check.origin(definition.line("path")),
            endpoint=endpoint,
            cortex=CortexSettings(kind=ApiKind.TASK),
            **self._common(definition),
        )
        return api if path and name else None

    def _common(self, section: Fields) -> dict[str, Any]:
        image = section.text("image")
        if image:
            self.decisions.append(notes.image(section.where, self.check.origin(section.line("image"))))
        return {
            "config": self._config_map(section),
            "env": tuple({**dict(self._env(section)), **self.variables}.items()),
            "python_path": self._python_path(section),
            "log_level": section.text("log_level", choices=LOG_LEVELS) or "info",
            "dependencies": self._dependencies(section),
            "image": image or None,
        }

    def _one_at_a_time(self, predictor: Fields, kind: ApiKind, processes: int, threads: int) -> None:
        if kind is ApiKind.REALTIME:
            return
        for key, number in (("processes_per_replica", processes), ("threads_per_process", threads)):
            if number > 1:
                predictor.problem(f"{key} cannot be greater than 1 for {kind}", predictor.line(key), f"Remove {key}.", key=key)

    def _settings(
        self, predictor: Fields, kind: ApiKind, type_: PredictorType, processes: int, threads: int, *, name: str, handler: bool
    ) -> CortexSettings:
        reloading = self._reloading(predictor, kind, type_, processes)
        models = self._models(predictor, kind, type_, processes)
        grpc = self._grpc(predictor, kind, name, handler=handler)
        batching = read_batching(predictor, kind, type_, processes, threads)
        return CortexSettings(
            kind=kind,
            type=type_,
            models=reloading or models,
            reloading=reloading is not None,
            batching=batching,
            grpc=grpc,
        )

    def _models(self, predictor: Fields, kind: ApiKind, type_: PredictorType, processes: int) -> Models | None:
        if type_ is PredictorType.PYTHON:
            self._no_models(predictor)
            return None
        entry = predictor.node.get("tensorflow_serving_image")
        if entry and type_ is PredictorType.TENSORFLOW:
            self.decisions.append(notes.serving_image(predictor.where, self.check.origin(entry.line)))
        elif entry:
            self._only_for(predictor, "tensorflow_serving_image", type_)
        old = next((key for key in ("model_path", "model") if predictor.node.get(key)), None)
        if old and not predictor.node.get("models"):
            self.decisions.append(notes.old_models(old, predictor.where, self.check.origin(predictor.line(old))))
            return Models(path=predictor.text(old, required=True), signature_key=predictor.text("signature_key", null=True))
        found = read_models(predictor, "models", kind, type_, processes)
        entry = predictor.node.get("models")
        if entry and isinstance(entry.value, Sequence):
            self.decisions.append(notes.old_models("models", predictor.where, self.check.origin(entry.line), several=True))
        if entry is None or (isinstance(entry.value, Scalar) and entry.value.value is None):
            message = 'must be defined, and contain one of the following keys: "path", "paths", "dir"'
            predictor.problem(message, predictor.line("models"), "Add models: with path: below it.", key="models")
        return found

    def _no_models(self, predictor: Fields) -> None:
        for key in ("models", "model_path", "model", "signature_key", "tensorflow_serving_image"):
            if predictor.node.get(key):
                self._only_for(predictor, key, PredictorType.PYTHON)

    def _only_for(self, predictor: Fields, key: str, type_: PredictorType) -> None:
        message = f"{key} is not a supported field for the {type_} predictor type"
        instead = f"Remove {key}."
        if key == "models":
            instead = "Rename it multi_model_reloading to get python_client, or load the models in PythonPredictor.__init__."
        predictor.problem(message, predictor.line(key), instead)

    def _reloading(self, predictor: Fields, kind: ApiKind, type_: PredictorType, processes: int) -> Models | None:
        key = "multi_model_reloading"
        entry = predictor.node.get(key)
        if entry is None or (isinstance(entry.value, Scalar) and entry.value.value is None):
            return None
        if type_ is not PredictorType.PYTHON:
            self._only_for(predictor, key, type_)
        elif kind is not ApiKind.REALTIME:
            predictor.problem(f"{key} is only supported for RealtimeAPI", entry.line, f"Remove {key}.", key=key)
        return read_models(predictor, key, kind, type_, processes)

    def _grpc(self, predictor: Fields, kind: ApiKind, name: str, *, handler: bool) -> Grpc | None:
        written = predictor.text("protobuf_path", null=True)
        if written is None:
            return None
        line, path = predictor.line("protobuf_path"), joined(self.folder, written)
        if kind is not ApiKind.REALTIME:
            predictor.problem("protobuf_path is only supported for RealtimeAPI", line, "Remove protobuf_path.", key="protobuf_path")
        elif not written.endswith(".proto"):
            predictor.problem(f'"{shortened(written)}" must end with ".proto"', line, "Name the .proto file.", key="protobuf_path")
        elif predictor.node.get("server_side_batching"):
            message = "server_side_batching is not supported with protobuf_path"
            predictor.problem(message, predictor.line("server_side_batching"), "Remove one of them.")
        elif self._inside(path, written, predictor, "protobuf_path"):
            if self.files.read(path) is None:
                self._missing(predictor, "protobuf_path", written, path)
            else:
                return read_grpc(predictor, path, self.files, api=name, handler=handler)
        return None

    def _predictor_path(self, predictor: Fields, *, any_suffix: bool = False) -> str | None:
        written = predictor.text("path", required=True, instead="Add path: predictor.py.")
        if written is None:
            return None
        line = predictor.line("path")
        if not any_suffix and not written.endswith(".py"):
            predictor.problem(f'"{shortened(written)}" must end with ".py"', line, "Name the Python file of the predictor.", key="path")
            return None
        path = joined(self.folder, written)
        if not self._inside(path, written, predictor, "path") or self.files.read(path) is not None:
            return path
        self._missing(predictor, "path", written, path)
        return None

    def _inside(self, path: str, written: str, fields: Fields, key: str) -> bool:
        name = self.ignored.named_by(path.removeprefix(f"{self.folder}/" if self.folder else ""))
        if name is not None:
            message = f"{shortened(written)}: file is left out of the project by {name}"
            fields.problem(message, fields.line(key), f"Take it out of {name}, or add !{written} there.", key=key)
            return False
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
        shown = shortened(text) if len(text) < _LONGEST_SHOWN else "the value"  # it may be a secret
        instead = f'Put it in quotes: {shortened(key)}: "{shown}"' if isinstance(value, Scalar) else "Write one value."
        predictor.problem(f"{shown}: invalid type (expected string)", value.line, instead, key=f"env: {shortened(key)}")

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
