"""Records as lines a person reads. Pure: a style in, text out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from lading.explain.style import Style
from lading.model.decisions import Decision, Kind
from lading.model.plan import Plan, Role, Source
from lading.model.problems import Problem

_MARKS = {Kind.KEPT: "=", Kind.CHOSEN: ">", Kind.ADVICE: "!"}
_COLOURS = {Kind.KEPT: "dim", Kind.CHOSEN: "cyan", Kind.ADVICE: "yellow"}


def wrap(text: str, style: Style, indent: str = "", hang: str | None = None) -> str:
    """``text`` folded to the style's width; words longer than a line stay whole, so that a path can be copied."""
    return textwrap.fill(
        " ".join(text.split()),
        style.width,
        initial_indent=indent,
        subsequent_indent=indent if hang is None else hang,
        break_long_words=False,
        break_on_hyphens=False,
    )


def render_problem(problem: Problem, style: Style) -> str:
    """A problem: what, where, why, and the fix; supporting text below."""
    where = f"{problem.origin}: " if problem.origin else ""
    lines = [_labelled("error:", where + problem.what, style, "red", "bold")]
    if problem.why:
        lines.append(_labelled("  why:", problem.why, style, "dim"))
    if problem.detail:
        lines.append(textwrap.indent(problem.detail.rstrip(), "    ", lambda _line: True))
    if problem.instead:
        lines.append(_labelled("  fix:", problem.instead, style, "green"))
    return "\n".join(lines)


def _labelled(label: str, text: str, style: Style, *colours: str) -> str:
    """Wrapped first and painted then, so that escape codes count no columns."""
    wrapped = wrap(f"{label} {text}", style, label[: len(label) - len(label.lstrip())], " " * (len(label) + 1))
    return wrapped.replace(label.strip(), style.paint(label.strip(), *colours), 1)


def render_problems(problems: Sequence[Problem], style: Style) -> str:
    """Every problem, a blank line between them, and their number when there are several."""
    texts = [render_problem(problem, style) for problem in problems]
    if len(texts) > 1:
        texts.append(f"{len(texts)} problems.")
    return "\n\n".join(texts)


def render_decision(decision: Decision, style: Style) -> str:
    """A decision: asked, chosen, why, from where, and what to write for something else."""
    head = decision.asked if decision.kind is Kind.KEPT else f"{decision.asked} -> {decision.chose}"
    if decision.kind is Kind.KEPT and decision.chose not in (decision.asked, ""):
        head = f"{decision.asked} (kept: {decision.chose})"
    origin = f" ({decision.origin})" if decision.origin else ""
    mark = _MARKS[decision.kind]
    lines = [_labelled(mark, head + origin, style, _COLOURS[decision.kind])]
    lines.append(wrap(f"because {decision.because} [{decision.rule}]", style, "    ", "    "))
    if decision.instead:
        lines.append(wrap(f"for something else: {decision.instead}", style, "    ", "      "))
    return "\n".join(lines)


def render_decisions(decisions: Iterable[Decision], style: Style) -> str:
    """Decisions one below the other: choices first, then what was kept, then advice."""
    order = [Kind.CHOSEN, Kind.KEPT, Kind.ADVICE]
    return "\n".join(render_decision(decision, style) for decision in sorted(decisions, key=lambda one: order.index(one.kind)))


def render_plan(plan: Plan, style: Style) -> str:
    """The plan: what is served, which files were used or ignored and why, requirements, decisions."""
    parts = [_heading("Serving", style), *(f"  {api.name}: {api.file}:{api.object} ({api.style} style)" for api in plan.apis)]
    parts += ["", _heading("Target", style), f"  Python {plan.target.python}, {plan.target.platform}, {plan.target.accelerator}"]
    if plan.python_because:
        parts.append(wrap(f"  because {plan.python_because}", style, "", "    "))
    parts += ["", _heading("Files", style), *_source_lines(plan.sources, style)]
    parts += ["", _heading("Requirements", style), *_requirement_lines(plan)]
    if plan.system_packages:
        parts += ["", _heading("System packages", style), wrap("  " + " ".join(plan.system_packages), style, "", "  ")]
    if plan.decisions:
        parts += ["", _heading("Decisions", style), render_decisions(plan.decisions, style)]
    return "\n".join(parts)


def _heading(text: str, style: Style) -> str:
    return style.paint(text, "bold")


def _source_lines(sources: Sequence[Source], style: Style) -> list[str]:
    if not sources:
        return ["  none: no dependency file was found"]
    width = max(len(source.path) for source in sources)
    lines = []
    for source in sources:
        role = style.paint(f"{source.role!s:7}", "green" if source.role is Role.USED else "dim")
        reason = wrap(source.because, style, " " * (width + 12)).lstrip()
        lines.append(f"  {source.path:{width}}  {role} {reason}")
    return lines


def _requirement_lines(plan: Plan) -> list[str]:
    if not plan.requirements:
        return ["  none"]
    bound = {package: index.url for index in plan.bound for package in index.packages}
    width = max(len(declared.pep508) for declared in plan.requirements)
    lines = []
    for declared in plan.requirements:
        index = f"  from {bound[declared.name]}" if declared.name in bound else ""
        lines.append(f"  {declared.pep508:{width}}  {declared.origin}{index}".rstrip())
    return lines


def count(number: int, noun: str) -> str:
    """``1 package``, ``2 packages``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
