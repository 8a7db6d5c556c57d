"""Cortex's two files in one declaration: conda-packages.txt first, then the pip requirements."""

from __future__ import annotations

from collections.abc import Mapping

from lading.model.conda import CondaDependencies
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.project import Api
from lading.model.records import replace
from lading.model.requirements import Declaration
from lading.planner.candidates import read_source


def with_conda_packages(
    declaration: Declaration | None, apis: tuple[Api, ...], files: ProjectFiles, environ: Mapping[str, str]
) -> Declaration | None:
    """The pip declaration of a set of APIs with what its list of conda packages adds; the list alone where there is no other.

    Packages that the list says pip had installed are requirements; where a requirements file names them as well, that file counts.

    Raises:
        LadingError: with every problem of the list.
    """
    reference = next((api.dependencies.conda for api in apis if api.dependencies.conda), None)
    if reference is None:
        return declaration
    from lading.formats import conda_packages  # noqa: PLC0415 -- only when the file is there

    lists = conda_packages.parse if not reference.path.endswith((".yml", ".yaml", ".lock", ".toml")) else read_source
    conda = lists(reference.path, files, environ)
    return conda if declaration is None else _both(declaration, conda)


def _both(pip: Declaration, conda: Declaration) -> Declaration:
    named = {declared.name for declared in pip.requirements}
    routed = tuple(declared for declared in conda.requirements if declared.name not in named)
    twice = [declared.pep508 for declared in conda.requirements if declared.name in named]
    decisions = [_already(twice, pip.path, conda.path)] if twice else []
    return replace(
        pip,
        read=tuple(dict.fromkeys((*pip.read, *conda.read))),
        requirements=(*pip.requirements, *routed),
        constraints=(*pip.constraints, *conda.constraints),
        options=pip.options.merged(conda.options),
        python=conda.python or pip.python,
        conda=conda.conda or CondaDependencies(),
        decisions=(*pip.decisions, *conda.decisions, *decisions),
    )


def _already(names: list[str], pip: str, conda: str) -> Decision:
    return Decision(
        rule="conda-list-yields",
        kind=Kind.CHOSEN,
        subject="requirements",
        asked=f"{', '.join(names)} in {conda}, as pip had installed them",
        chose=f"the lines of {pip}",
        because="both files name them, and the requirements file is written by hand",
        origin=Origin(conda),
        instead=f"the versions of {conda} in {pip}",
    )
