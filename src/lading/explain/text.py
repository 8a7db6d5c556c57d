"""Records as lines a person reads. Pure: a style in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lading.explain.style import Style
from lading.model.build import ALL, BuildOptions
from lading.model.decisions import Decision, Kind
from lading.model.plan import Plan, Role, Source
from lading.model.problems import Problem
from lading.model.project import Api
from lading.model.requirements import Declared, IndexOptions
from lading.model.target import Interpreter

_MARKS = {Kind.KEPT: "=", Kind.CHOSEN: ">", Kind.ADVICE: "!"}
_LONGEST_COLUMN, _NARROWEST_COLUMN = 44, 26
_COLOURS = {Kind.KEPT: "dim", Kind.CHOSEN: "cyan", Kind.ADVICE: "yellow"}


def wrap(text: str, style: Style, indent: str = "", hang: str | None = None) -> str:
    """``text`` folded to the style's width; words longer than a line stay whole, so that a path can be copied."""
    import textwrap  # noqa: PLC0415 -- in many runs nothing is told

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
    origin = problem.origin
    # A message about a whole file begins with its name already.
    where = f"{origin}: " if origin and not (origin.line is None and problem.what.startswith(origin.path)) else ""
    lines = [_labelled("error:", where + problem.what, style, "red", "bold")]
    if problem.why:
        lines.append(_labelled("  why:", problem.why, style, "dim"))
    if problem.detail:
        lines += [f"    {line}" for line in problem.detail.rstrip().splitlines()]
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
    head = f"{decision.asked} -> {decision.chose}"
    if decision.kind is Kind.KEPT:
        head = f"{decision.asked}: {'unchanged' if decision.chose in (decision.asked, '') else decision.chose}"
    origin = f" ({decision.origin})" if decision.origin else ""
    mark = _MARKS[decision.kind]
    lines = [_labelled(mark, head + origin, style, _COLOURS[decision.kind])]
    lines.append(wrap(f"because {decision.because} [{decision.rule}]", style, "    ", "      "))
    if decision.detail:
        lines += [_table_line(row, style) for row in decision.detail.splitlines()]
    if decision.instead:
        label = "instead" if decision.kind is Kind.ADVICE else "for something else"
        lines.append(wrap(f"{label}: {decision.instead}", style, "    ", "      "))
    return "\n".join(lines)


def _table_line(row: str, style: Style) -> str:
    """A line of a table as it is, folded where the terminal is too narrow for its columns."""
    return f"      {row}" if len(row) + 6 <= style.width else wrap(row, style, "      ", "        ")


def render_decisions(decisions: Iterable[Decision], style: Style) -> str:
    """Decisions one below the other: choices first, then what was kept, then advice."""
    order = [Kind.CHOSEN, Kind.KEPT, Kind.ADVICE]
    return "\n".join(render_decision(decision, style) for decision in sorted(decisions, key=lambda one: order.index(one.kind)))


def render_plan(plan: Plan, style: Style, *, interpreter: Interpreter | None = None, machine: IndexOptions | None = None) -> str:
    """The plan: what is served, which files were used or ignored and why, requirements, indexes, decisions.

    ``interpreter`` and ``machine`` add what is true of this machine alone: where its Python is, and its own package indexes.
    """
    sections = (
        ("Serving", [_api_line(api, style) for api in plan.apis] or ["  nothing: no predictor is named"]),
        ("Target", _target_lines(plan, interpreter, style)),
        ("Files", _source_lines(plan.sources, style) or ["  none that declares anything"]),
        ("Conda packages", _conda_lines(plan, style)),
        ("Requirements", _requirement_lines(plan.requirements, plan, style) or ["  none"]),
        ("Constraints", _requirement_lines(plan.constraints, plan, style)),
        ("Overrides", _requirement_lines(plan.overrides, plan, style)),
        ("Left out", [wrap(" ".join(plan.excludes), style, "  ")] if plan.excludes else []),
        ("Builds", _build_lines(plan.build, style)),
        ("Indexes", _index_lines(plan, machine, style)),
        ("System packages", [wrap(" ".join(plan.system_packages), style, "  ")] if plan.system_packages else []),
        ("Decisions", [render_decisions(plan.decisions, style)] if plan.decisions else []),
    )
    return "\n\n".join("\n".join([style.paint(title, "bold"), *lines]) for title, lines in sections if lines)


def _api_line(api: Api, style: Style) -> str:
    return wrap(f"{api.name}: {api.file}:{api.object} ({api.style} style)", style, "  ", "    ")


def _target_lines(plan: Plan, interpreter: Interpreter | None, style: Style) -> list[str]:
    version = f"Python {plan.target.python}" if plan.conda is None else "the Python that conda brings"
    lines = [wrap(f"{version}, {plan.target.platform}, {plan.target.accelerator}", style, "  ", "    ")]
    if interpreter is not None and plan.conda is None:
        lines.append(wrap(f"{interpreter.path} (found by: {interpreter.found_by})", style, "  ", "    "))
    return lines


def _conda_lines(plan: Plan, style: Style) -> list[str]:
    from lading.explain.conda import conda_lines  # noqa: PLC0415 -- few projects need it, and it needs this module

    return conda_lines(plan.conda, style)


def _source_lines(sources: Sequence[Source], style: Style) -> list[str]:
    width = _width(source.path for source in sources)
    roles = max((len(source.role) for source in sources), default=0) + 2
    return [_row((source.path, source.because), width, style, tag=_role(source.role, roles, style), hang=roles) for source in sources]


def _role(role: Role, width: int, style: Style) -> str:
    return style.paint(str(role), "green" if role is Role.USED else "dim") + " " * (width - len(role))


def _width(texts: Iterable[str]) -> int:
    """The column that fits most texts: a very long one must not push all others aside."""
    return min(max(map(len, texts), default=0), _LONGEST_COLUMN)


def _row(texts: tuple[str, str], width: int, style: Style, *, tag: str = "", hang: int = 0) -> str:
    """Two columns, the right one folded behind a tag of ``hang`` columns; on a narrow terminal, or beside a long text, it is below."""
    left, right = texts
    room = style.width - width - 4 - hang
    longest = max(map(len, right.split()), default=0)
    beside = len(left) <= width and room >= max(_NARROWEST_COLUMN, longest)
    start = f"  {left:{width}}  " if beside else f"  {left}\n      "
    indent = " " * ((width + 4 if beside else 6) + hang)
    return f"{start}{tag}{wrap(right, style, indent).lstrip()}".rstrip()


def _requirement_lines(requirements: Sequence[Declared], plan: Plan, style: Style) -> list[str]:
    bound = {package: index.url for index in plan.bound for package in index.packages}
    shown = [(f"-e {declared.pep508}" if declared.editable else declared.pep508, declared) for declared in requirements]
    width = _width(text for text, _ in shown)
    lines = []
    for text, declared in shown:
        notes = [str(declared.origin)]
        notes += [f"from {bound[declared.name]}"] if declared.name in bound else []
        notes += [count(len(declared.hashes), "hash")] if declared.hashes else []
        notes += [f"{name} {value}" for name, value in declared.options]
        lines.append(_row((text, ", ".join(notes)), width, style))
    return lines


def _build_lines(build: BuildOptions, style: Style) -> list[str]:
    """What the project says of packages that are built from source."""
    rows = [(name if name != ALL else "every package", "is built with the other packages at hand") for name in build.no_isolation]
    rows += [
        (package, f"also needs {declared.pep508} to be built{_matched(package, declared, build)}")
        for package, declared in build.requirements
    ]
    rows += [("any build", f"keeps to {declared.pep508}") for declared in build.constraints]
    rows += [(package, f"is built with {name}={value}") for package, name, value in build.variables]
    rows += [
        (package if package != ALL else "every package", f"is built with the setting {name}={value}")
        for package, name, value in build.settings
    ]
    for one in build.metadata:
        needs = ", ".join(declared.pep508 for declared in one.requires) or "nothing"
        rows.append((f"{one.name} {one.version or ''}".strip(), f"needs {needs}, says the project, whatever its own files say"))
    width = _width(name for name, _ in rows)
    return [_row(row, width, style) for row in rows]


def _matched(package: str, declared: Declared, build: BuildOptions) -> str:
    return ", in the version that is installed" if (package, declared.name) in build.matching else ""


def _index_lines(plan: Plan, machine: IndexOptions | None, style: Style) -> list[str]:
    """The indexes and options that hold for every requirement (none means the default index), and those for what nobody here declares."""
    options, declared = plan.options, {one.name for one in plan.requirements}
    rows = [*_index_rows(options, ""), *(_index_rows(machine, " (this machine's setting)") if machine else ())]
    for index in plan.bound if plan.requirements else ():
        others = [name for name in index.packages if name not in declared]
        rows += [(", ".join(others), f"{index.url}, if another package needs them")] if others else []
    flags = {
        "no index": options.no_index,
        "pre-releases": options.pre,
        "hashes required": options.require_hashes,
        "wheels preferred": options.prefer_binary,
    }
    rows += [(name, "yes") for name, on in flags.items() if on]
    rows += [
        (name, ", ".join(names)) for name, names in (("from source", options.no_binary), ("wheels only", options.only_binary)) if names
    ]
    width = _width(name for name, _ in rows)
    return [_row(row, width, style) for row in rows]


def _index_rows(options: IndexOptions, note: str) -> list[tuple[str, str]]:
    rows = [("default", f"{options.index_url}{note}")] if options.index_url else []
    rows += [("also", f"{url}{note}") for url in options.extra_index_urls]
    rows += [("links", f"{url}{note}") for url in options.find_links]
    return rows


def count(number: int, noun: str) -> str:
    """``1 package``, ``2 packages``, ``2 hashes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{'es' if noun.endswith('sh') else 's'}"
