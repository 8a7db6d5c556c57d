"""Variables of a Cortex project where packages are installed: Cortex's bootloader sets ``.env`` and ``predictor.env`` before pip runs.

So they may say where packages come from (``PIP_EXTRA_INDEX_URL``), and hold what ``${NAME}`` in a requirements file stands for. What the
user's own shell sets wins over them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import replace

from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.project import Api
from lading.model.requirements import Declaration, IndexOptions
from lading.planner.indexes import environment_options


def variables_of(apis: tuple[Api, ...]) -> dict[str, str]:
    """The variables of APIs that share their packages; of one that several set, the first API's."""
    return {name: value for api in reversed(apis) for name, value in api.env}


def with_indexes_of_variables(declaration: Declaration | None, apis: tuple[Api, ...], files: ProjectFiles) -> Declaration | None:
    """The declaration with the indexes that the APIs' variables name; what the file itself says of indexes counts before them."""
    variables = variables_of(apis)
    options = environment_options(variables)
    if declaration is None or options == IndexOptions():
        return declaration
    decision = _decision(options, variables, apis, files)
    return replace(declaration, options=options.merged(declaration.options), decisions=(*declaration.decisions, decision))


def _decision(options: IndexOptions, variables: Mapping[str, str], apis: tuple[Api, ...], files: ProjectFiles) -> Decision:
    urls = [*([options.index_url] if options.index_url else []), *options.extra_index_urls, *options.find_links]
    names = [name for name in variables if environment_options({name: variables[name]}) != IndexOptions()]
    return Decision(
        rule="variables-name-indexes",
        kind=Kind.KEPT,
        subject="indexes",
        asked=", ".join(names),
        chose=", ".join(str(url) for url in urls) or "no index",
        because="Cortex set the variables of .env and predictor.env before it installed packages",
        origin=_origin(names[0], apis[0], files),
        instead="these variables in your own shell, which count before them",
    )


def _origin(name: str, api: Api, files: ProjectFiles) -> Origin:
    """The file that sets a variable."""
    path = posixpath.join(posixpath.dirname(api.origin.path), ".env")
    written = (files.read(path) or b"").decode("utf-8", "replace").splitlines()
    line = next((number for number, text in enumerate(written, 1) if text.removeprefix("export ").strip().startswith(f"{name}=")), None)
    return api.origin if line is None else Origin(path, line)
