"""Packages that Cortex's images brought, and that a project's sources import without declaring them.

Cortex's images held fastapi, starlette, boto3, requests, numpy and more (bootloader and ``*.requirements.txt`` of 0.32.0; the full
images of 0.20 to 0.28 held frameworks as well), and predictors rely on it. What the sources import, no file declares, and Cortex had,
joins the requirements with a Decision; nothing else is added.
"""

from __future__ import annotations

import ast
import posixpath
import warnings
from collections.abc import Iterable, Iterator

from lading.frameworks.conda_builds import pip_names
from lading.model.cortex import Models, PredictorType
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.names import canonical
from lading.model.origin import Origin
from lading.model.problems import LadingError
from lading.model.project import Api, ProjectConfig, ProjectKind
from lading.model.records import dataclass, replace
from lading.model.requirements import Declaration, Declared
from lading.model.secrets import SecretText

PREINSTALLED = "cortex-preinstalled"
_CORE = "Cortex's images had {name} {version}"
_FULL = "Cortex's images of 0.20 to 0.28 had {name} {version}"
_MOST_FILES = 500
_LONGEST_PATH = 200


@dataclass(frozen=True, slots=True)
class _Package:
    name: str
    version: str
    said: str = _CORE


_IMPORTS = {
    "boto3": _Package("boto3", "1.14.53"),
    "botocore": _Package("botocore", "1.17"),
    "datadog": _Package("datadog", "0.39.0"),
    "dill": _Package("dill", "0.3.4"),
    "fastapi": _Package("fastapi", "0.61.1"),
    "google.protobuf": _Package("protobuf", "3.19.6"),
    "grpc": _Package("grpcio", "1.36.0"),
    "jinja2": _Package("jinja2", "2.11.3"),
    "msgpack": _Package("msgpack", "1.0.0"),
    "multipart": _Package("python-multipart", "0.0.5"),
    "numpy": _Package("numpy", "1.19.1"),
    "pydantic": _Package("pydantic", "1.9.2"),
    "pythonjsonlogger": _Package("python-json-logger", "2.0.1"),
    "requests": _Package("requests", "2.24.0"),
    "sentry_sdk": _Package("sentry-sdk", "0.20.2"),
    "starlette": _Package("starlette", "0.13.6"),
    "uvicorn": _Package("uvicorn", "0.11.8"),
    "uvloop": _Package("uvloop", "0.14.0"),
    "yaml": _Package("pyyaml", "5.4"),
    "Cython": _Package("cython", "0.29.21", _FULL),
    "PIL": _Package("pillow", "7.2.0", _FULL),
    "cloudpickle": _Package("cloudpickle", "1.6.0", _FULL),
    "cv2": _Package("opencv-python", "4.4.0.42", _FULL),
    "keras": _Package("keras", "2.4.3", _FULL),
    "nltk": _Package("nltk", "3.5", _FULL),
    "pandas": _Package("pandas", "1.1.1", _FULL),
    "scipy": _Package("scipy", "1.5.2", _FULL),
    "skimage": _Package("scikit-image", "0.17.2", _FULL),
    "sklearn": _Package("scikit-learn", "0.23.2", _FULL),
    "statsmodels": _Package("statsmodels", "0.12.0", _FULL),
    "sympy": _Package("sympy", "1.6.2", _FULL),
    "tensorflow": _Package("tensorflow", "2.3.0", _FULL),
    "tensorflow_hub": _Package("tensorflow-hub", "0.9.0", _FULL),
    "torch": _Package("torch", "1.6.0", _FULL),
    "torchvision": _Package("torchvision", "0.7.0", _FULL),
    "xgboost": _Package("xgboost", "1.2.0", _FULL),
}
_OF_TYPES = {
    PredictorType.ONNX: _Package("onnxruntime", "1.6.0"),
    PredictorType.TENSORFLOW: _Package("tensorflow", "2.3.0"),
}
"""What the clients of models run on."""
_OF_PLACES = {
    "s3": _Package("s3fs", "", "Cortex fetched models from s3:// itself"),
    "gs": _Package("gcsfs", "", "Cortex fetched models from gs:// itself"),
}
"""What models are fetched by."""
_SAME = {
    "tensorflow": ("tensorflow-cpu", "tensorflow-gpu", "tf-nightly", "tensorflow-intel"),
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino"),
    "opencv-python": ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless", "opencv"),
    "pyyaml": ("ruamel-yaml",),
}
"""Other distributions that bring the same module."""


def with_preinstalled(
    declaration: Declaration | None, config: ProjectConfig, apis: tuple[Api, ...], files: ProjectFiles
) -> Declaration | None:
    """The declaration of a set of Cortex APIs with what their sources import and Cortex's images had.

    A lock of another tool is whole, and stays as it is.
    """
    if config.kind is not ProjectKind.CORTEX or (declaration is not None and (declaration.locked is not None or declaration.dynamic)):
        return declaration
    there = _declared(declaration)
    missing: dict[str, tuple[_Package, Origin, str]] = {}
    for package, origin, how in _needed(apis, files):
        if not there & {package.name, *_SAME.get(package.name, ())}:
            missing.setdefault(package.name, (package, origin, how))
    if not missing:
        return declaration
    base = declaration or Declaration(format="cortex.yaml", path=config.path or "cortex.yaml", read=())
    added = tuple(Declared(raw=SecretText(name), origin=origin, name=name) for name, (_, origin, _) in missing.items())
    decisions = tuple(_decision(base, *one) for one in missing.values())
    return replace(base, requirements=(*base.requirements, *added), decisions=(*base.decisions, *decisions))


def _declared(declaration: Declaration | None) -> frozenset[str]:
    if declaration is None:
        return frozenset()
    names = {declared.name for declared in declaration.requirements if declared.name}
    if declaration.conda is not None:
        by_conda = [spec.name for spec in declaration.conda.specs]
        names |= {canonical(name) for name in by_conda} | set(pip_names(declaration.conda.specs))
    return frozenset(names)


def _decision(base: Declaration, package: _Package, origin: Origin, how: str) -> Decision:
    had = package.said.format(name=package.name, version=package.version)
    place = base.path if base.read else "a requirements.txt beside the configuration"
    return Decision(
        rule=PREINSTALLED,
        kind=Kind.CHOSEN,
        subject=package.name,
        asked=f"{how}, and no file declares it",
        chose=package.name,
        because=f"{had}, so the project may rely on it",
        origin=origin,
        instead=f"a line for {package.name} in {place}",
    )


def _needed(apis: tuple[Api, ...], files: ProjectFiles) -> Iterator[tuple[_Package, Origin, str]]:
    for api in apis:
        if api.cortex.type in _OF_TYPES:
            yield _OF_TYPES[api.cortex.type], api.origin, f"the {api.cortex.type} predictor type needs it"
        for place in _places(api.cortex.models):
            scheme = place.partition("://")[0]
            if scheme in _OF_PLACES:
                yield _OF_PLACES[scheme], api.origin, f"the models at {scheme}:// are fetched by it"
        if api.cortex.grpc is not None:
            yield _IMPORTS["google.protobuf"], api.origin, "predictor.protobuf_path needs it, for the messages"
        for module, origin in imports(api, files):
            package = _IMPORTS.get(module) or _IMPORTS.get(module.partition(".")[0])
            if package is not None:
                yield package, origin, f"{origin} imports {module.partition('.')[0]}"


def _places(models: Models | None) -> tuple[str, ...]:
    """Where the models of an API lie."""
    if models is None:
        return ()
    return tuple(place for place in (models.path, models.folder, *(one.path for one in models.paths)) if place)


def imports(api: Api, files: ProjectFiles) -> Iterator[tuple[str, Origin]]:
    """The modules from elsewhere that a predictor's file, and the project's files that it imports, import; each once.

    Imports that may fail (in a ``try`` with an ``except``) or that only type checkers see do not count.
    """
    for path, module, line, own in _walk(api, files):
        if not own and not module.startswith("."):
            yield module, Origin(path, line)


def files_of(api: Api, files: ProjectFiles) -> tuple[str, ...]:
    """The files that a predictor uses, as far as its sources tell: those that it imports, and those that a text in them names."""
    own = _imported(api, _walk(api, files))
    named = [name for path in own for name in _named_in(path, files)]
    return tuple(dict.fromkeys([*own, *named]))


def sources_of(api: Api, files: ProjectFiles) -> Iterator[tuple[str, frozenset[str]]]:
    """The Python files of the project that a predictor imports, its own first, each with the first parts of the project's own modules."""
    walked = list(_walk(api, files))
    own = frozenset(module.partition(".")[0] for _, module, _, found in walked if found)
    for path in _imported(api, walked):
        yield path, own


def _imported(api: Api, walked: Iterable[tuple[str, str, int, list[str]]]) -> Iterable[str]:
    """The predictor's file, and those that the imports found by `_walk` mean; each once."""
    return dict.fromkeys([api.file, *(one for _, _, _, found in walked for one in found)])


def _named_in(path: str, files: ProjectFiles) -> Iterator[str]:
    tree = parsed(path, files)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and 0 < len(node.value) < _LONGEST_PATH:
            written = posixpath.normpath(node.value)
            if not written.startswith(("/", ".")) and written.isprintable() and _there(written, files):
                yield written


def _walk(api: Api, files: ProjectFiles) -> Iterator[tuple[str, str, int, list[str]]]:
    """Every import: the file it stands in, the module, the line, and the project's files that it means."""
    folders = tuple(dict.fromkeys([*([api.python_path] if api.python_path else []), "", posixpath.dirname(api.file)]))
    waiting, seen = [api.file], {api.file}
    while waiting and len(seen) < _MOST_FILES:
        path = waiting.pop(0)
        for module, line in _imports_of(path, files):
            own = _own(module, path, folders, files)
            waiting += [one for one in own if one not in seen]
            seen.update(own)
            yield path, module, line, own


def _own(module: str, path: str, folders: Iterable[str], files: ProjectFiles) -> list[str]:
    """The files of the project that a module's name stands for; empty for one from elsewhere."""
    name = module.lstrip(".")
    dots = len(module) - len(name)
    if dots:
        folder = posixpath.dirname(path)
        for _ in range(dots - 1):
            folder = posixpath.dirname(folder)
        folders = (folder,)
    parts = name.split(".") if name else []
    for folder in folders:
        found = []
        for depth in range(1, len(parts) + 1):
            stem = posixpath.join(folder, *parts[:depth])
            found += [one for one in (f"{stem}.py", f"{stem}/__init__.py") if _there(one, files)]
        if found or (parts and files.is_folder(posixpath.join(folder, parts[0])) and _there(posixpath.join(folder, *parts) + ".py", files)):
            return found
    return []


def _there(path: str, files: ProjectFiles) -> bool:
    folder, _, name = path.rpartition("/")
    return not path.startswith("..") and name in files.entries(folder)


def _imports_of(path: str, files: ProjectFiles) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    tree = parsed(path, files)
    _collect(tree.body if tree else (), found)
    return found


def parsed(path: str, files: ProjectFiles) -> ast.Module | None:
    """A source as a tree; None for what is no Python, or cannot be read."""
    if not path.endswith(".py"):
        return None
    try:
        content = files.read(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(content or b"", filename=path)
    except (LadingError, SyntaxError, ValueError, RecursionError):
        return None  # the check of the predictor says what is wrong with it


def _collect(statements: Iterable[ast.stmt], found: list[tuple[str, int]]) -> None:
    for node in statements:
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            found.append((base, node.lineno))
            # `from package import module` may mean a file of the project, and `from google import protobuf` a package.
            found += [(f"{base}{'' if base.endswith('.') else '.'}{alias.name}", node.lineno) for alias in node.names if alias.name != "*"]
        elif isinstance(node, ast.Try):
            _collect((*node.orelse, *node.finalbody, *([] if node.handlers else node.body)), found)
        elif isinstance(node, ast.If):
            _collect(node.orelse if "TYPE_CHECKING" in ast.dump(node.test) else (*node.body, *node.orelse), found)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.With | ast.AsyncWith | ast.For | ast.While):
            _collect(node.body, found)
