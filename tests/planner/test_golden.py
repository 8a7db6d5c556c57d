"""Every folder in tests/projects: its plan as JSON, and the explanation as a user reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lading.explain.style import Style
from lading.explain.text import render_plan, render_problems
from lading.model.problems import LadingError
from tests.formats.test_projects import ENVIRON, PROJECTS, load
from tests.planner.planning import plans

TARGETS = {"linux-cpu": "cpu", "linux-cu121": "cu121"}
"""A machine without a GPU, and one whose driver runs CUDA 12.1."""
WITH_BUILDS = ("cog_gpu_torch", "cog_gpu_without_cuda", "cortex_gpu_variant", "requirements_tensorflow", "requirements_torch_builds")
SITUATIONS = [
    (folder.name, target)
    for folder in sorted(PROJECTS.iterdir())
    for target in TARGETS
    if folder.is_dir() and (target == "linux-cpu" or folder.name in WITH_BUILDS)
]
WIDE = Style(width=100)


def _planned(project: str, target: str) -> tuple[dict[str, Any], str]:
    try:
        made = plans(load(project), accelerator=TARGETS[target], environ=ENVIRON)
    except LadingError as error:
        return {"problems": [problem.as_json() for problem in error.problems]}, render_problems(error.problems, WIDE)
    return {"plans": [plan.as_json() for plan in made]}, "\n\n\n".join(render_plan(plan, WIDE) for plan in made)


@pytest.mark.parametrize(("project", "target"), SITUATIONS, ids=[f"{project}-{target}" for project, target in SITUATIONS])
def test_a_project_in_this_situation_is_planned_and_explained_so(project: str, target: str, *, update: bool):
    record, text = _planned(project, target)
    folder = PROJECTS / project / "expected"
    as_json, as_text = folder / f"plan.{target}.json", folder / f"explain.{target}.txt"
    if update:
        folder.mkdir(exist_ok=True)
        as_json.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", "utf-8")
        as_text.write_text(text + "\n", "utf-8")
    assert record == json.loads(as_json.read_text("utf-8"))
    assert text + "\n" == as_text.read_text("utf-8")
    for secret in ENVIRON.values():
        assert secret not in text
        assert secret not in json.dumps(record)


@pytest.mark.parametrize("width", [40, 60])
@pytest.mark.parametrize("project", sorted({project for project, _ in SITUATIONS}))
def test_on_a_narrow_terminal_only_what_is_copied_in_one_piece_is_wider(project: str, width: int):
    pieces: set[str] = set()
    try:
        made = plans(load(project), environ=ENVIRON)
        pieces = {declared.pep508 for plan in made for declared in (*plan.requirements, *plan.constraints)}
        text = "\n".join(render_plan(plan, Style(width=width)) for plan in made)
    except LadingError as error:
        text = render_problems(error.problems, Style(width=width))
    wide = {line.strip() for line in text.splitlines() if len(line) > width}
    assert {line for line in wide - pieces if " " in line} == set()


def test_every_golden_file_belongs_to_a_situation():
    known = {
        Path(project, "expected", f"{name}.{target}.{kind}")
        for project, target in SITUATIONS
        for name, kind in (("plan", "json"), ("explain", "txt"))
    }
    assert {path.relative_to(PROJECTS) for path in PROJECTS.glob("*/expected/*")} == known
