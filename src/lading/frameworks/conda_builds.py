"""Frameworks by conda: what a build's name says, and what may not stand beside it.

Conda has one package per build, told apart by its build string (``py3.9_cuda11.3_cudnn8_0``, ``cuda120py311h1234_200``, ``cpu_mkl_py310_0``) and
chosen by the virtual package ``__cuda`` or by a second package (``pytorch-cuda``, ``cudatoolkit``, ``cuda-version``). So nothing has to be
completed here, but explained: and pip's builds of the same framework, or of extensions to it, do not fit conda's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from lading.frameworks.choice import applies
from lading.frameworks.labels import CPU, spoken
from lading.model.conda import CondaPackage, MatchSpec
from lading.model.decisions import Decision, Kind
from lading.model.problems import ExitCode, Problem
from lading.model.records import dataclass
from lading.model.requirements import Declared
from lading.model.target import Target

_FRAMEWORKS = ("pytorch", "tensorflow", "tensorflow-base", "jaxlib", "torchvision", "torchaudio")
_TOOLKITS = ("pytorch-cuda", "cudatoolkit", "cuda-version")
_PIP_NAMES = {
    "pytorch": ("torch",),
    "pytorch-cpu": ("torch",),
    "pytorch-gpu": ("torch",),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-gpu"),
    "tensorflow-cpu": ("tensorflow", "tensorflow-cpu", "tensorflow-gpu"),
    "tensorflow-gpu": ("tensorflow", "tensorflow-cpu", "tensorflow-gpu"),
    "jaxlib": ("jaxlib",),
    "jax": ("jax",),
    "torchvision": ("torchvision",),
    "torchaudio": ("torchaudio",),
}
# Wheels that are compiled against pip's build of a framework and load its libraries.
_EXTENSIONS = {
    "torch": ("torchvision", "torchaudio", "torchtext", "torchdata", "xformers", "torch-scatter", "torch-sparse", "torch-cluster", "triton", "fbgemm-gpu"),
    "tensorflow": ("tensorflow-text", "tensorflow-addons", "tensorflow-io", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel"),
    "jax": ("jaxlib", "jax-cuda12-plugin", "jax-cuda13-plugin"),
}  # fmt: skip
_CUDA = re.compile(r"cuda_?(?P<version>\d+\.\d+|\d{2,3})")
_CUDNN = re.compile(r"cudnn(?P<version>[\d.]+\d|\d)")
_PYTHON = re.compile(r"py(?P<version>\d\.\d+|\d{2,3})(?![\d.])")


@dataclass(frozen=True, slots=True)
class Build:
    """What a build string says; empty where it says nothing."""

    cuda: str = ""
    cudnn: str = ""
    python: str = ""
    cpu: bool = False

    def words(self) -> str:
        """The build in words: ``CUDA 11.3 with cuDNN 8, for Python 3.9``."""
        parts = [f"CUDA {self.cuda}" if self.cuda else "the CPU" if self.cpu else ""]
        parts += [f"with cuDNN {self.cudnn}"] if self.cudnn else []
        head = " ".join(part for part in parts if part)
        return ", ".join(part for part in (head, f"Python {self.python}" if self.python else "") if part)


def read_build(build: str) -> Build:
    """What a build string says."""
    cuda, cudnn, python = _CUDA.search(build), _CUDNN.search(build), _PYTHON.search(build)
    cpu = not cuda and re.search(r"(^|_)(cpu|mkl|eigen|openblas)(_|$|py)", build) is not None
    return Build(
        cuda=_dotted(cuda["version"], 2) if cuda else "",
        cudnn=cudnn["version"] if cudnn else "",
        python=_dotted(python["version"], 1) if python else "",
        cpu=cpu,
    )


def _dotted(version: str, major: int) -> str:
    return version if "." in version else f"{version[:major]}.{version[major:]}".rstrip(".")


def pip_names(specs: Iterable[MatchSpec]) -> frozenset[str]:
    """The package index's names of the frameworks that a list of conda packages names: conda chooses their builds, and nobody else."""
    return frozenset(name for spec in specs for name in _PIP_NAMES.get(spec.name, ()))


def explain(packages: tuple[CondaPackage, ...], lines: Mapping[str, MatchSpec], target: Target) -> tuple[Decision, ...]:
    """One decision for each framework that conda brings: which build it is, and what led to it."""
    toolkit = next((package for name in _TOOLKITS for package in packages if package.name == name), None)
    found = []
    for package in packages:
        build = read_build(package.build)
        if package.name in _FRAMEWORKS and (build.cuda or build.cpu):
            found.append(_explained(package, build, toolkit, lines.get(package.name), target))
    return tuple(found)


def _explained(package: CondaPackage, build: Build, toolkit: CondaPackage | None, line: MatchSpec | None, target: Target) -> Decision:
    by_user = line is not None and line.name == package.name and bool(line.build)
    on_cpu = target.accelerator == CPU
    if by_user:
        because = f"the line names the build: it is for {build.words()}"
    elif build.cpu:
        because = f"it is the build for the CPU, as the target has {'no GPU' if on_cpu else spoken(target.accelerator)}"
    else:
        because = f"it is for {build.words()}" + (f", as {toolkit.name} {toolkit.version} asks" if toolkit else "")
    if build.cuda and on_cpu:
        because += "; the target has no GPU, so it runs on the CPU, with CUDA's libraries beside it"
    return Decision(
        rule="conda-build-chosen" if not by_user else "conda-build-kept",
        kind=Kind.ADVICE if build.cuda and on_cpu else Kind.KEPT if by_user else Kind.CHOSEN,
        subject=package.name,
        asked=str(line.raw).strip() if line else package.name,
        chose=f"{package.name} {package.version}, build {package.build}",
        because=because,
        origin=line.origin if line else None,
        instead=_instead(package, build),
    )


def _instead(package: CondaPackage, build: Build) -> str:
    if build.cuda:
        return f"{package.name}={package.version}=*cpu*, or --accelerator cpu"
    return f"{package.name}={package.version}=*cuda*, or --accelerator with a CUDA label (cu121)"


def beside_conda(
    requirements: Iterable[Declared], packages: tuple[CondaPackage, ...], lines: Mapping[str, MatchSpec], target: Target
) -> tuple[Problem, ...]:
    """Pip's extensions of a framework that conda brings: compiled against another build of it, they fail when they are imported."""
    by_conda = {name: package for package in packages for name, _ in package.provides}
    problems = []
    for declared in requirements:
        if declared.name is None or declared.name in by_conda or not applies(declared, target):
            continue
        for framework, extensions in _EXTENSIONS.items():
            if framework in by_conda and declared.name in extensions:
                problems.append(_does_not_fit(declared, by_conda[framework], lines.get(by_conda[framework].name)))
    return tuple(problems)


def _does_not_fit(declared: Declared, package: CondaPackage, line: MatchSpec | None) -> Problem:
    where = f" ({line.origin}: {str(line.raw).strip()})" if line else ""
    return Problem(
        rule="conda-pip-builds-mixed",
        what=f"{declared.name} by pip ({declared.origin}) does not fit {package.name} {package.version} by conda{where}.",
        origin=declared.origin,
        why=f"Its wheel is compiled against pip's build of {package.provides[0][0]}, whose libraries conda's build does not have in their place.",
        instead=f"Write {declared.name} among the conda packages too, or {package.name} among the pip requirements (as {package.provides[0][0]}).",
        code=ExitCode.RESOLUTION,
    )
