"""Advice about a project, shown and, on demand, followed: the changed files are read again before they are written."""

from __future__ import annotations

from collections.abc import Sequence

from lading.checks.advice import Advice, apply, by_file
from lading.checks.predictor import check_predictor
from lading.edits.changes import Change, Overlay, Text
from lading.explain.style import Style
from lading.explain.text import wrap
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.model.project import ProjectConfig
from lading.pipeline import Options
from lading.planner.find import find_config


def render(advice: Advice, style: Style) -> str:
    """One piece of advice for people."""
    lines = [
        wrap(f"{advice.origin}: {advice.what}", style, "    ", "    "),
        wrap(f"because {advice.why}", style, "      ", "      "),
        wrap(f"better: {advice.instead}{' (lading doctor --fix does it)' if advice.edits else ''}", style, "      ", "      "),
    ]
    return "\n".join(lines)


def changes_of(found: Sequence[Advice], config: ProjectConfig, files: ProjectFiles, options: Options) -> tuple[Change, ...]:
    """The files as they are after every edit.

    Raises:
        LadingError: `fix-unsafe`, if the changed files would be read as another project than before.
    """
    changes = []
    for path, edits in by_file(found).items():
        content = files.read(path)
        if content is None:
            continue
        text = Text.of(path, content)
        change = text.changed(apply(text.text, edits), content)
        if change.after != content:
            changes.append(change)
    if changes:
        _prove(tuple(changes), config, files, options)
    return tuple(changes)


def _prove(changes: tuple[Change, ...], config: ProjectConfig, files: ProjectFiles, options: Options) -> None:
    after = Overlay(files, changes)
    try:
        same = _facts(find_config(after, options.file, options.environ), after) == _facts(config, files)
    except LadingError:
        same = False
    if not same:
        raise LadingError(
            Problem(
                rule="fix-unsafe",
                what="The files cannot be changed without changing what they mean. Nothing was written.",
                origin=Origin(changes[0].path),
                why="The changed files were read again, and say something else than before.",
                instead="Make the changes by hand; each piece of advice says what to write.",
            )
        )


def _facts(config: ProjectConfig, files: ProjectFiles) -> tuple[object, ...]:
    """What must not change: which predictors there are, and what they take and give."""
    from lading.model.project import Style as Written
    from lading.schema.static import TRAIN, read_signature

    facts: list[object] = [config.kind, config.run, config.packages, config.requirements and config.requirements.path]
    for api in config.apis:
        problems = check_predictor(api, files)
        record = read_signature(files, api.file, api.object).as_json() if api.style is Written.COG and not problems else {}
        fields = [{key: value for key, value in field.items() if key != "line"} for field in record.get("inputs", ())]
        facts += [api.name, api.file, api.object, [problem.rule for problem in problems], fields, record.get("output")]
    if config.train is not None:
        train = read_signature(files, config.train.file, config.train.object, methods=TRAIN).as_json()
        facts.append([field["name"] for field in train["inputs"]])
    return tuple(map(repr, facts))
