"""``lading doctor``: what this machine and this project are fit for."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from lading import pipeline
from lading.checks.advice import Advice
from lading.cli.advice import render
from lading.cli.changes import add_consent
from lading.cli.options import add_json, add_project, pipeline_options
from lading.cli.output import Output
from lading.explain.text import count, render_problem, wrap
from lading.frameworks.choice import OF_MACHINE
from lading.model.decisions import Decision
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem, ProblemCollector


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what it is, what was seen, and what is wrong with it, if anything. Without ``looked`` it was not looked at."""

    subject: str
    seen: str
    looked: bool = True
    problems: tuple[Problem, ...] = ()
    advice: tuple[Advice, ...] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_project(parser)
    add_json(parser)
    parser.add_argument("--to", nargs="+", metavar=("ray", "ADDRESS"), help="look at a cluster, too: ray, and its address")
    parser.add_argument("--fix", action="store_true", help="follow the advice that can be followed safely; shows a diff and asks first")
    add_consent(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    options = pipeline_options(arguments, arguments.project)
    checks: list[Callable[[pipeline.Options], Finding]] = [
        _uv,
        _store,
        _interpreters,
        _accelerator,
        _index,
        _project,
        _advice,
        _builds,
        _conda,
        _lock,
    ]
    if arguments.to:
        checks.insert(0, partial(_cluster, arguments.to))
    findings = []
    for check in checks:
        try:
            findings.append(check(options))
        except LadingError as error:
            subject = "cluster" if isinstance(check, partial) else check.__name__.lstrip("_")
            findings.append(Finding(subject, "see below", problems=error.problems))
    problems = [problem for finding in findings for problem in finding.problems]
    if not output.as_json:
        _show(findings, output)
    written = _fix([one for finding in findings for one in finding.advice], options, arguments, output) if arguments.fix else ()
    if output.as_json:
        fixed = {"written": list(written)} if arguments.fix else {}
        output.json({"findings": [_record(finding) for finding in findings], "healthy": not problems, **fixed})
    return int(problems[0].code) if problems else 0


def _fix(found: Sequence[Advice], options: pipeline.Options, arguments: argparse.Namespace, output: Output) -> tuple[str, ...]:
    """Follow the advice; returns the files that were changed."""
    from lading.cli.advice import changes_of
    from lading.cli.changes import write_changes

    project = pipeline.read(options) if found else None
    changes = changes_of(found, project.config, project.files, options) if project else ()
    if not changes:
        output.say("There is nothing to fix.")
        return ()
    written = write_changes(changes, options.directory, output, yes=arguments.yes, dry_run=arguments.dry_run)
    return tuple(change.path for change in changes) if written else ()


def _record(finding: Finding) -> dict[str, object]:
    record: dict[str, object] = {"subject": finding.subject, "seen": finding.seen}
    record["problems"] = [problem.as_json() for problem in finding.problems]
    return {**record, "advice": [one.as_json() for one in finding.advice]} if finding.advice else record


def _show(findings: list[Finding], output: Output) -> None:
    style = output.out_style
    for finding in findings:
        mark = style.paint("x", "red") if finding.problems else style.paint("✓", "green") if finding.looked else style.paint("-", "dim")
        output.data(f"{mark} {wrap(f'{finding.subject}: {finding.seen}', style, '  ', '    ').lstrip()}")
        for problem in finding.problems:
            output.data(render_problem(problem, style))
        for one in finding.advice:
            output.data(render(one, style))


def _cluster(words: Sequence[str], _options: pipeline.Options) -> Finding:
    from lading.deploy.engine import Place
    from lading.deploy.ray import diagnose

    if words[0] != "ray" or len(words) > 2:
        what = f'"{" ".join(words)}" is no cluster that can be looked at.'
        raise LadingError(Problem(rule="usage", what=what, origin=Origin("--to"), instead="Write --to ray, with an address if you like."))
    seen, problems = diagnose(Place(engine="ray", address=words[1] if len(words) > 1 else None), os.environ)
    return Finding("cluster", seen, problems=problems)


def _uv(_options: pipeline.Options) -> Finding:
    import subprocess

    import uv

    seen = subprocess.run([uv.find_uv_bin(), "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return Finding("uv", seen or "it does not run")


def _store(_options: pipeline.Options) -> Finding:
    import shutil

    from lading.cli.env import size
    from lading.environments.home import home, require_writable

    require_writable()
    return Finding("store", f"{home()}, {size(shutil.disk_usage(home()).free)} free")


def _interpreters(options: pipeline.Options) -> Finding:
    from lading.environments.interpreters import find_interpreters

    found = find_interpreters(options.environ)
    return Finding("Pythons", ", ".join(f"{one.version} ({one.found_by})" for one in found) or "none")


def _accelerator(options: pipeline.Options) -> Finding:
    """What builds are chosen for, the driver, and the GPUs that it sees."""
    from lading.environments.host import describe_accelerator, find_machine
    from lading.frameworks.gpus import spoken_gpus

    gpus = find_machine().gpus
    return Finding("accelerator", describe_accelerator(options.accelerator) + (f", with {spoken_gpus(gpus)}" if gpus else ""))


def _index(options: pipeline.Options) -> Finding:
    """Whether the default index answers; not asked with ``--offline``."""
    if options.offline:
        return Finding("package index", "not asked (--offline)", looked=False)
    from lading.planner.indexes import environment_options
    from lading.resolvers.pages import DEFAULT_INDEX, check_index

    url = environment_options(options.environ).index_url
    problem = check_index(url)
    return Finding("package index", str(url or DEFAULT_INDEX), problems=(problem,) if problem else ())


def _project(options: pipeline.Options) -> Finding:
    project = pipeline.read(options)
    names = ", ".join(f"{api.name} ({api.file}:{api.object})" for api in project.config.apis)
    return Finding("project", f"{project.config.kind}, {count(len(project.config.apis), 'API')}: {names}")


def _builds(options: pipeline.Options) -> Finding:
    """Whether the frameworks go together and run here; if not, the nearest set that does is in the problem's fix."""
    try:
        project = pipeline.read(options)
    except LadingError:
        return Finding("builds", "not checked: the project cannot be read", looked=False)
    planned = pipeline.plan(project, options)
    rows = [row for one in planned for row in pipeline.builds(one, project, replace(options, offline=True))]
    wrong = [_not_here(decision) for one in planned for decision in one.plan.decisions if decision.rule in OF_MACHINE]
    needs = [f"{one.asked}: {one.chose}" for plan in planned for one in plan.plan.decisions if one.rule == "gpu-needs"]
    chosen = ", ".join(row.chosen for row in rows)
    return Finding("builds", "; ".join([chosen or "no framework that has several", *needs]), problems=tuple(wrong))


def _conda(options: pipeline.Options) -> Finding:
    """Whether py-rattler is here, which projects with conda packages need, and whether their channels answer."""
    from importlib import metadata

    from lading.environments.home import home
    from lading.resolvers.conda import CondaOptions, reach
    from lading.resolvers.conda_client import caches

    how = CondaOptions(caches=caches(home(), os.environ), offline=options.offline)
    plans = [one.plan for one in _planned(options) if one.plan.conda is not None]
    try:
        found = f"py-rattler {metadata.version('py-rattler')}"
    except metadata.PackageNotFoundError:
        if not plans:
            return Finding("conda", "py-rattler is not here, which projects with conda packages need (lading[conda])", looked=False)
        found = "py-rattler is not here"
    problems = ProblemCollector()
    for plan in plans:
        with problems.catching():
            reach(plan, options.directory, how)
    channels = dict.fromkeys(str(channel) for plan in plans if plan.conda for channel in plan.conda.channels)
    asked = " (not asked)" if options.offline else ""
    return Finding("conda", "; ".join([found, *(f"{channel}{asked}" for channel in channels)]), problems=tuple(problems.problems))


def _planned(options: pipeline.Options) -> Sequence[pipeline.Planned]:
    """The plans, none where the project cannot be planned, which is told elsewhere."""
    try:
        return pipeline.plan(pipeline.read(options), options)
    except LadingError:
        return ()


def _not_here(decision: Decision) -> Problem:
    because = f"{decision.because[:1].upper()}{decision.because[1:]}."
    return Problem(
        rule=decision.rule, what=f"{decision.asked} will not work.", why=because, instead=decision.instead, code=ExitCode.RESOLUTION
    )


def _advice(options: pipeline.Options) -> Finding:
    """What works and should be changed, as Cog's doctor says it, and more."""
    from lading.checks.all import advise

    try:
        project = pipeline.read(options)
    except LadingError:
        return Finding("advice", "not looked for: the project cannot be read", looked=False)
    found = advise(project.config, project.files)
    return Finding("advice", count(len(found), "piece") if found else "none", advice=found)


def _lock(options: pipeline.Options) -> Finding:
    try:
        project = pipeline.read(options)
    except LadingError:
        return Finding("lock", "not checked: the project cannot be read", looked=False)
    try:
        planned = pipeline.plan(project, options)
    except LadingError:
        return Finding("lock", "not checked: there is no plan, see builds", looked=False)
    return Finding("lock", "; ".join(f"{one.plan.lock_path} {_lock_state(one)}" for one in planned))


def _lock_state(planned: pipeline.Planned) -> str:
    if planned.existing is None:
        return "is not made yet"
    return "is out of date: " + ", ".join(planned.stale) if planned.stale else "is up to date"
