"""Each folder in tests/projects is a situation: what its readers say, in one line each."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from lading.formats import cog_yaml, cortex_yaml, known, python_version
from lading.model.files import MemoryFiles
from lading.model.problems import LadingError
from lading.model.project import ProjectConfig
from lading.model.requirements import Declaration, Declared

PROJECTS = Path(__file__).parent.parent / "projects"
ENVIRON = {"INDEX_PASSWORD": "s3cr3t", "GIT_TOKEN": "t0ken"}

READERS: dict[str, Callable[[MemoryFiles], Declaration | ProjectConfig]] = {
    "cog.yaml": lambda files: cog_yaml.parse_config("cog.yaml", files, ENVIRON),
    "cortex.yaml": lambda files: cortex_yaml.parse_config("cortex.yaml", files),
    ".python-version": lambda files: python_version.parse(".python-version", files),
    "runtime.txt": lambda files: python_version.parse("runtime.txt", files),
}

# Project, file, and what is read: requirements and APIs, or the rules of the problems with their lines.
SITUATIONS = [
    (
        "cog_python_packages",
        "cog.yaml",
        ["numpy==2.0.0", "ruamel-yaml==0.18.6", "requests>=2.31,<3", 'pywin32==306 ; sys_platform == "win32"', "predict"],
    ),
    ("cog_python_requirements", "cog.yaml", ["predict"]),
    ("cog_python_requirements", "requirements.txt", ["numpy==2.0.0", "pillow==10.3.0"]),
    ("cog_gpu_torch", "cog.yaml", ["torch==1.11.0", "torchvision==0.12.0", "predict"]),
    ("cog_index_on_package_line", "cog.yaml", ["torch==2.1.0", "torchvision==0.16.0", "xformers==0.0.22", "numpy", "predict"]),
    ("cog_packages_and_requirements", "cog.yaml", ["! packages-and-requirements 5"]),
    ("cog_packages_beside_requirements", "cog.yaml", ["numpy==2.0.0", "predict"]),
    ("cog_begins_with_docstring", "cog.yaml", ["! yaml-invalid 1"]),
    ("cog_items_without_dashes", "cog.yaml", ["! wrong-type 4"]),
    ("cog_empty", "cog.yaml", ["! config-not-a-map 1"]),
    (
        "cog_many_mistakes",
        "cog.yaml",
        [
            "! unknown-key 2",
            "! wrong-type 3",
            "! system-package-invalid 5",
            "! requirement-invalid 7",
            "! requirement-invalid 8",
            "! file-not-found 9",
            "! environment-invalid 11",
        ],
    ),
    ("cog_python_version_float", "cog.yaml", ["predict"]),
    ("cog_requirements_in_submodule", "cog.yaml", ["! submodule-not-checked-out 3"]),
    ("cog_run_commands", "cog.yaml", ["numpy==2.0.0", "predict"]),
    ("cortex_iris", "cortex.yaml", ["doubler"]),
    ("cortex_gpu_variant", "cortex.yaml", ["doubler-cpu", "doubler-gpu"]),
    ("cortex_missing_pip_file", "cortex.yaml", ["! file-not-found 7"]),
    ("cortex_conda", "cortex.yaml", ["doubler"]),
    ("cortex_private_index", "cortex.yaml", ["doubler"]),
    ("cortex_install_script", "cortex.yaml", ["doubler"]),
    ("cortex_project_root_package", "cortex.yaml", ["doubler"]),
    ("cortex_other_kinds", "cortex.yaml", ["doubler", "batch"]),
    ("cortex_all_kinds", "cortex.yaml", ["doubler", "doubler-next", "doubler-batch", "doubler-async", "train"]),
    ("cortex_onnx", "cortex.yaml", ["iris"]),
    ("cortex_tensorflow", "cortex.yaml", ["iris"]),
    ("cortex_multi_model", "cortex.yaml", ["iris"]),
    ("cortex_handler", "cortex.yaml", ["doubler", "doubler-later"]),
    ("cortex_grpc", "cortex.yaml", ["text-generator"]),
    ("cortex_customised_paths", "cortex.yaml", ["doubler"]),
    ("cortex_preinstalled", "cortex.yaml", ["doubler"]),
    (
        "cortex_git_packages",
        "requirements.txt",
        [
            "text-tools @ git+https://github.com/cortexlabs/text-tools.git@v1.2#egg=text-tools",
            "private-tools @ git+https://${GIT_TOKEN}@github.com/cortexlabs/private-tools.git@main#egg=private-tools",
            "requests==2.24.0",
        ],
    ),
    ("cortex_many_mistakes", "cortex.yaml", [f"! cortex-config-invalid {line}" for line in (1, 6, 7, 9, 10, 12, 14)]),
    ("requirements_utf16", "requirements.txt", ["numpy==2.0.0", "pillow==10.3.0"]),
    ("requirements_latin1", "requirements.txt", ["! encoding-wrong 2"]),
    ("requirements_crlf", "requirements.txt", ["numpy==2.0.0", "pillow==10.3.0"]),
    ("requirements_include_loop", "requirements.txt", ["! include-loop 1"]),
    ("requirements_includes_and_constraints", "requirements.txt", ["numpy", "torch", "requests"]),
    ("requirements_hashes", "requirements.txt", ["numpy==2.0.0", 'pillow==10.3.0 ; python_version >= "3.8"']),
    (
        "requirements_misleading_lines",
        "requirements.txt",
        [
            "! yaml-list-item 1",
            *(f"! requirement-invalid {line}" for line in (2, 3, 4, 5)),
            "! python-as-package 6",
            "! debian-freeze 7",
            "! requirement-invalid 8",
            "! requirement-invalid 9",
        ],
    ),
    (
        "requirements_private_index",
        "requirements.txt",
        ["corp-utils==1.0", "corp-model @ git+https://${GIT_TOKEN}@example.org/corp/model.git@v1.2"],
    ),
    (
        "requirements_local_packages",
        "requirements.txt",
        [".", "./libs/geometry[fast]", "./libs/units", "./wheels/tables-1.0-py3-none-any.whl"],
    ),
    ("requirements_torch_builds", "requirements.txt", ["torch==1.11.0", "torchvision==0.12.0+cu113", "torchaudio>=0.11"]),
    ("requirements_two_pins", "requirements.txt", ["! pins-conflict 3"]),
    ("pyproject_pep621", "pyproject.toml", ["numpy==2.0.0", "pillow>=10"]),
    ("pyproject_dependency_group", "pyproject.toml", ["numpy==2.0.0", "torch==2.1.0", "uvloop"]),
    ("pyproject_poetry", "pyproject.toml", ["numpy>=2.0,<3"]),
    ("pyproject_uv_sources", "pyproject.toml", ["torch==2.1.0", "numpy"]),
    ("pyproject_dynamic", "pyproject.toml", ["dynamic"]),
    ("pyproject_pdm", "pyproject.toml", ["numpy>=2", "corp-utils", "corp-models>=1.2"]),
    (
        "pyproject_uv_builds",
        "pyproject.toml",
        [
            'torch==2.4.1 ; sys_platform == "linux"',
            'torch==2.4.1 ; sys_platform != "linux"',
            "flash-attn==2.6.3",
            "detectron2 @ git+https://github.com/facebookresearch/detectron2@v0.6",
            "deep-ep",
            "numpy",
        ],
    ),
    ("pyproject_uv_workspace", "pyproject.toml", ["./packages/geometry", "./packages/units.zip"]),
    ("pyproject_setuptools_files", "pyproject.toml", ["numpy==2.0.0", 'pillow>=10 ; python_version >= "3.9"']),
    (
        "pipfile",
        "Pipfile",
        [
            "numpy==2.0.0",
            "requests[socks]>=2.31",
            "corp-utils",
            'pywin32==306 ; sys_platform == "win32"',
            "model @ git+https://example.org/model.git@v1.2",
        ],
    ),
    ("setup_cfg", "setup.cfg", ["numpy==2.0.0", 'pillow>=10 ; python_version >= "3.9"']),
    ("setup_py", "setup.py", ["numpy==2.0.0", "pillow>=10", "requests"]),
    ("setup_py_dynamic", "setup.py", ["dynamic"]),
    ("script_block", "predict.py", ["numpy==2.0.0", "torch==2.4.1"]),
    ("requirements_in", "requirements.in", ["numpy>=2"]),
    (
        "lock_pdm",
        "pdm.lock",
        [
            "click==8.1.8",
            'colorama==0.4.6 ; platform_system == "Windows" or sys_platform == "win32"',
            "httpx==0.27.2",
            "h2==4.1.0",
            "idna==3.10",
            "sniffio==1.3.1",
        ],
    ),
    ("python_version_file", ".python-version", ["3.11.7"]),
    ("python_runtime_misspelt", "runtime.txt", ["! python-version-invalid 1"]),
    ("uv_lock_beside_pyproject", "pyproject.toml", [">=3.11"]),
    ("uv_lock_beside_pyproject", "uv.lock", ["! lock-unreadable 1"]),
]


def load(project: str) -> MemoryFiles:
    """A project's folder as a mapping."""
    folder = PROJECTS / project
    return MemoryFiles({path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()})


def _read(project: str, path: str) -> list[str]:
    try:
        found = READERS[path](load(project)) if path in READERS else _parsed(path, load(project))
    except LadingError as error:
        return [f"! {problem.rule} {problem.origin.line if problem.origin else None}" for problem in error.problems]
    if isinstance(found, ProjectConfig):
        return [*_shown(found.packages), *(api.name for api in found.apis)]
    if found.locked is not None:
        return [*_shown(tuple(package.pin for package in found.locked.packages))]
    if found.dynamic:
        return ["dynamic"]
    return _shown(found.requirements) or ([found.python.text] if found.python else [])


def _parsed(path: str, files: MemoryFiles) -> Declaration:
    """A file that can be the source, by the reader that is registered for its name."""
    entry = known.lookup(path)
    reader = entry.reader if entry and entry.rank else "pep723"
    found: Declaration = import_module(f"lading.formats.{reader}").parse(path, files, ENVIRON)
    return found


def _shown(requirements: tuple[Declared, ...]) -> list[str]:
    return [declared.pep508 for declared in requirements]


@pytest.mark.parametrize(("project", "path", "expected"), SITUATIONS, ids=[f"{project}-{path}" for project, path, _ in SITUATIONS])
def test_a_project_in_this_situation_is_read_so(project, path, expected):
    assert _read(project, path) == expected
