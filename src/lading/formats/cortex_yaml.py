"""``cortex.yaml``: a list of APIs, as Cortex 0.30 to 0.35 read it (pkg/types/spec/validations.go of v0.32.0).

Settings that only a cluster can follow (compute, autoscaling, update strategy) are checked, and a Decision says that they have no effect
here.
"""

from __future__ import annotations

import re
from dataclasses import replace

from lading.formats import _cortex_notes as notes
from lading.formats._checks import Checker
from lading.formats._cortex_fields import Fields, read_autoscaling, read_compute, read_update_strategy
from lading.formats._cortex_models import read_shares
from lading.formats._cortex_predictor import PredictorReader
from lading.formats._cortex_table import ALLOWED, KINDS, LONGEST_NAME
from lading.formats._dotenv import read_dotenv
from lading.formats._paths import joined
from lading.formats._yaml import Map, Node, Scalar, Sequence, kind_of, read_yaml, shortened
from lading.model.cluster import ClusterSettings
from lading.model.cortex import ApiKind, Splitter
from lading.model.decisions import Decision
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.model.project import Api, ProjectConfig, ProjectKind

name = "cortex.yaml"

_OLD_TOP = ("monitoring", "tracker")
_OLD_NETWORKING = ("api_gateway", "local_port")
_NEWER = {"pod": "0.36 and later"}
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
    config.check_targets(apis)
    config.check.finish()
    return ProjectConfig(
        kind=ProjectKind.CORTEX,
        path=path,
        apis=tuple(apis),
        splitters=tuple(config.splitters),
        gpu=config.gpu,
        decisions=tuple(dict.fromkeys(config.all_decisions())),
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
        self.splitters: list[Splitter] = []
        self.broken: list[str] = []
        self.reader = PredictorReader(self.check, files, self.folder, read_dotenv(joined(self.folder, ".env"), files, self.check.problems))
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
        if self._other_dialect(fields) or (written_kind := self._kind(fields)) is None:
            return None
        fields.known(_allowed(fields, written_kind), old=_OLD_TOP)
        self._old_keys(fields, _OLD_TOP)
        endpoint = self._networking(fields, api_name or "")
        if written_kind == "TrafficSplitter":
            self._splitter(fields, api_name or "", endpoint)
            return None
        return self._predictor(fields, ApiKind(written_kind), api_name or "", endpoint)

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
        elif len(found) > LONGEST_NAME:
            fields.problem(f'"{found}" must be no more than {LONGEST_NAME} characters', line, "Shorten the name.", key="name")
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

    def _kind(self, fields: Fields) -> str | None:
        entry = fields.node.get("kind")
        if entry and isinstance(entry.value, Scalar) and entry.value.text == "SyncAPI":
            fields.problem("SyncAPI was renamed", entry.line, "Write kind: RealtimeAPI.", key="kind")
            return None
        return fields.text("kind", required=True, choices=KINDS, instead="Add kind: RealtimeAPI.")

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
                self.decisions.append(notes.old_key(key, fields.where, self.check.origin(fields.line(key))))

    def _splitter(self, fields: Fields, api_name: str, endpoint: str) -> None:
        shares = read_shares(fields)
        if api_name and shares:
            origin = self.check.origin(fields.line("apis"))
            self.splitters.append(Splitter(name=api_name, endpoint=endpoint, shares=shares, origin=origin))

    def _predictor(self, fields: Fields, kind: ApiKind, api_name: str, endpoint: str) -> Api | None:
        key = "definition" if kind is ApiKind.TASK else "handler" if fields.node.get("handler") else "predictor"
        if key == "handler" and fields.node.get("predictor"):
            fields.problem("handler and predictor cannot be used together", fields.line("handler"), "Keep one of them.")
        example = "path: task.py" if kind is ApiKind.TASK else "type: python and path: predictor.py"
        section = fields.section(key, required=True, instead=f"Add {key}: with {example}.")
        if section is None:
            return None
        api = self.reader.read(section, kind, api_name, endpoint)
        if api is None:
            self.broken.append(api_name)
        elif api.cortex.grpc is not None and endpoint != f"/{api_name}":
            self.decisions.append(notes.grpc_endpoint(fields.where, api.endpoint or "", self.check.origin(fields.line("networking"))))
        concurrency = (api.processes * api.threads) if api else 1
        cluster = self._cluster(fields, section, concurrency)
        return replace(api, cluster=cluster) if api else None

    def _cluster(self, fields: Fields, predictor: Fields, concurrency: int) -> ClusterSettings:
        found = ClusterSettings()
        for key in ("compute", "autoscaling", "update_strategy"):
            section = fields.section(key) if fields.node.get(key) else None
            if section is None:
                continue
            if key != "compute":
                self.for_clusters.append((key, section.node.line))
            if key == "compute":
                found = replace(found, compute=read_compute(section))
                self.gpu = self.gpu or found.compute.gpu > 0
            elif key == "autoscaling":
                found = replace(found, autoscaling=read_autoscaling(section, concurrency))
            else:
                found = replace(found, update=read_update_strategy(section))
        return self._with_shared_memory(found, fields, predictor)

    def _with_shared_memory(self, found: ClusterSettings, fields: Fields, predictor: Fields) -> ClusterSettings:
        shared, memory = predictor.quantity("shm_size", None, least="0"), found.compute.memory
        if shared is None:
            return found
        if memory is not None and shared > memory:
            compute = fields.section("compute")
            written = compute.written("mem") if compute else ""
            message = f"predictor.shm_size ({predictor.written('shm_size')}) cannot exceed compute.mem ({written})"
            predictor.problem(message, predictor.line("shm_size"), "Lower shm_size, or raise compute.mem.")
        return replace(found, compute=replace(found.compute, shared_memory=int(shared)))

    def check_unique(self, apis: list[Api]) -> None:
        """Names and endpoints are each used once."""
        everything: list[Api | Splitter] = sorted([*apis, *self.splitters], key=lambda one: one.origin.line or 0)
        for what in ("name", "endpoint"):
            seen: dict[str, Api | Splitter] = {}
            for api in everything:
                value = api.name if what == "name" else api.endpoint or ""
                earlier = seen.setdefault(value, api)
                if earlier is not api:
                    message = f'the {what} "{value}" is used by two APIs ({earlier.origin} and {api.origin})'
                    self.check.problem(
                        f"cortex-{what}-twice", api.origin.line or 1, f"{api.name}: {message}", instead="Change one of them."
                    )

    def check_targets(self, apis: list[Api]) -> None:
        """The APIs of a TrafficSplitter are RealtimeAPIs of the same file that are called by HTTP."""
        grpc = [api.name for api in apis if api.cortex.grpc is not None]
        realtime = [api.name for api in apis if api.cortex.kind is ApiKind.REALTIME and api.name not in grpc]
        for splitter in self.splitters:
            for share in splitter.shares:
                if share.name not in realtime and share.name not in self.broken:
                    reason = "is called by gRPC" if share.name in grpc else "was either not found or is not a RealtimeAPI"
                    what = f"{splitter.name} (TrafficSplitter): apis: api {shortened(share.name)} {reason}"
                    instead = f"Name one of {', '.join(realtime)}." if realtime else "Add the RealtimeAPI to this file."
                    self.check.problem("cortex-config-invalid", splitter.origin.line or 1, what, instead=instead)

    def all_decisions(self) -> list[Decision]:
        """The decisions, with one for all settings that are for clusters."""
        self.decisions += self.reader.decisions
        if not self.for_clusters:
            return self.decisions
        keys = ", ".join(dict.fromkeys(key for key, _ in self.for_clusters))
        return [*self.decisions, notes.for_clusters(keys, self.check.origin(self.for_clusters[0][1]))]


def _allowed(fields: Fields, kind: str) -> tuple[str, ...]:
    """The keys of a kind; ``handler`` is another name of ``predictor``."""
    allowed = ALLOWED[kind]
    return (*allowed, "handler") if "predictor" in allowed and fields.node.get("handler") else allowed
