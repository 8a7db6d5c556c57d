"""The predictor: is it there, has it the methods and arguments that its style needs, can its signature be read."""

from __future__ import annotations

from lading.model.files import ProjectFiles
from lading.model.problems import LadingError, Problem
from lading.model.project import Api, Style


def check_predictor(api: Api, files: ProjectFiles, *, training: bool = False) -> tuple[Problem, ...]:
    """Every problem of one API's predictor that shows without importing it; ``training``: of what makes weights."""
    if api.style is Style.CORTEX:
        from lading.schema.cortex import check_predictor as check_cortex  # noqa: PLC0415 -- `ast`, for this alone

        return tuple(check_cortex(files, api.file, (api.object,), python_path=api.python_path, kind=api.cortex.kind))
    from lading.schema.static import PREDICT, TRAIN, read_signature  # noqa: PLC0415 -- as above

    try:
        read_signature(files, api.file, api.object, methods=TRAIN if training else PREDICT)
    except LadingError as error:
        return error.problems
    return ()
