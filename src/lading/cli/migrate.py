"""``lading migrate``: a cog.yaml that lists packages and calls pip becomes one that names a requirements file."""

from __future__ import annotations

import argparse
import dataclasses

from lading import pipeline
from lading.cli.changes import add_consent, write_changes
from lading.cli.options import add_json, add_project, pipeline_options
from lading.cli.output import Output
from lading.edits.changes import Overlay
from lading.edits.migration import Migration, migrate
from lading.environments.folder import FolderFiles
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.model.project import ProjectConfig, ProjectKind
from lading.model.requirements import Declared
from lading.planner.find import find_config
from lading.planner.sources import choose_sources


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_project(parser)
    add_json(parser)
    add_consent(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    options = pipeline_options(arguments, arguments.project)
    files = FolderFiles(options.directory)
    config = find_config(files, options.file, options.environ)
    found = Migration()
    if config.kind is ProjectKind.COG and config.path:
        found = migrate(config.path, files, options.environ)
        _prove(found, config, files, options)
    _tell(found, output)
    written = False
    if found.changes:
        written = write_changes(found.changes, options.directory, output, yes=arguments.yes, dry_run=arguments.dry_run)
    elif not found.left:
        output.say("There is nothing to migrate.")
    if output.as_json:
        output.json(_record(found, written=written))
    return 0


def _tell(found: Migration, output: Output) -> None:
    for moved in found.moved:
        output.say(f"{moved.origin}: {moved.what} -> {moved.became}")
    for left in found.left:
        output.say(f"{left.origin}: stays: {left.what}\n    because {left.because}")


def _prove(found: Migration, config: ProjectConfig, files: ProjectFiles, options: pipeline.Options) -> None:
    """Read the changed files as the next run would, before anything is written.

    Raises:
        LadingError: if a requirement were lost, or anything else of the configuration changed.
    """
    if not found.changes:
        return
    after_files = Overlay(files, found.changes)
    after = find_config(after_files, options.file, options.environ)
    before = _declared(config, files, options)
    now = _declared(after, after_files, options)
    if not before <= now or _rest(config) != _rest(after):
        raise LadingError(
            Problem(
                rule="migration-unsafe",
                what="The files cannot be changed without changing what they mean. Nothing was written.",
                origin=Origin(config.path or ""),
                why="The changed files were read again, and declare something else than before.",
                instead="Make the changes by hand; `lading migrate --dry-run` shows what was meant.",
            )
        )


def _declared(config: ProjectConfig, files: ProjectFiles, options: pipeline.Options) -> set[tuple[object, ...]]:
    chosen = choose_sources(config, files, options.environ)
    return {_facts(one) for each in chosen if each.declaration for one in each.declaration.requirements}


def _facts(declared: Declared) -> tuple[object, ...]:
    # A path or an index may be written in another way from another file; what is installed is the same.
    return (declared.name, declared.specifier, declared.extras, declared.marker, declared.url, declared.editable, declared.hashes)


def _rest(config: ProjectConfig) -> tuple[object, ...]:
    apis = tuple(dataclasses.replace(api, origin=Origin("")) for api in config.apis)
    python = config.python and (config.python.specifier, config.python.text)
    return (apis, python, config.gpu, config.cuda)


def _record(found: Migration, *, written: bool) -> dict[str, object]:
    return {
        "written": written,
        "files": [change.path for change in found.changes],
        "moved": [{"what": one.what, "origin": str(one.origin), "became": one.became} for one in found.moved],
        "left": [{"what": one.what, "origin": str(one.origin), "because": one.because} for one in found.left],
    }
