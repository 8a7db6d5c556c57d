"""Writes the generated pages of docs/reference: commands and their options, and every rule that Lading may cite.

Usage: python scripts/make_reference.py [--check]; with --check nothing is written, and the exit status is 1 if a page is out of date.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cortex_reference

from lading.cli.options import make_parser
from lading.cli.verbs import ALIASES, VERBS
from lading.model.problems import ExitCode

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src" / "lading"
PAGES = ROOT / "docs" / "reference"
NOTICE = "<!-- Written by scripts/make_reference.py; edit the sources it reads. -->"
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")
_MEANINGS = {
    ExitCode.OK: "it worked",
    ExitCode.MODEL: "the user's model failed",
    ExitCode.USAGE: "usage or configuration",
    ExitCode.RESOLUTION: "no set of packages, or no Python, fits",
    ExitCode.LOCK: "the lock is missing or out of date, and may not be changed",
    ExitCode.NETWORK: "network, index or authentication",
    ExitCode.BUILD: "building or pushing",
    ExitCode.DEPLOY: "a deploy engine",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C)",
}


def commands() -> str:
    """The page about verbs, options and exit codes."""
    parts = ["# Commands", NOTICE, "`lading VERB [PROJECT] [options]`. PROJECT is a folder, a configuration file, or `file.py:Name`."]
    parts.append(_table("option", "on every verb", _options(make_parser("serve", ""), only=None)))
    for verb, (module, description) in VERBS.items():
        parser = make_parser(verb, description)
        common = {id_ for action in parser._actions for id_ in action.option_strings}  # argparse has no public way
        importlib.import_module(f"lading.cli.{module}").add_arguments(parser)
        alias = [name for name, of in ALIASES.items() if of == verb]
        title = f"## lading {verb}" + (f" (or `lading {alias[0]}`)" if alias else "")
        own = _options(parser, only=common)
        parts += [title, f"{description[:1].upper()}{description[1:]}.", *([_table("argument", "meaning", own)] if own else [])]
    rows = [(str(int(code)), _MEANINGS[code]) for code in ExitCode]
    return "\n\n".join([*parts, "## Exit codes", _table("code", "class of failure", rows)]) + "\n"


def _options(parser: argparse.ArgumentParser, only: set[str] | None) -> list[tuple[str, str]]:
    rows = []
    for action in parser._actions:
        if "-h" in action.option_strings or action.help == argparse.SUPPRESS or (only is not None and set(action.option_strings) & only):
            continue
        name = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        takes = action.option_strings and action.nargs != 0
        metavar = " ".join(action.metavar) if isinstance(action.metavar, tuple) else action.metavar
        value = str(metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper()))
        rows.append((f"`{name}{f' {value}' if takes else ''}`".replace("|", "\\|"), action.help or ""))
    return rows


def _table(first: str, second: str, rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join([f"| {first} | {second} |", "|---|---|", *(f"| {left} | {right} |" for left, right in rows)])


@dataclass(frozen=True, order=True)
class Rule:
    """One place in the sources that makes a decision or a problem."""

    name: str
    kind: str
    says: str
    remedy: str


def rules() -> str:
    """The page about rules: what each says, with placeholders where a run puts its own words."""
    found: dict[str, list[Rule]] = {}
    for rule in sorted(set(_rules())):
        found.setdefault(rule.name, []).append(rule)
    parts = [
        "# Rules",
        NOTICE,
        (
            "Every decision and every problem carries the id of its rule: in brackets on the terminal, as `rule` in `--json` and in the "
            "lock. Ids do not change. Words in {braces} stand for what a run puts there."
        ),
    ]
    for name, places in found.items():
        lines = [f"## {name}", f"A {places[0].kind}."]
        lines += [f"* {place.says}" + (f"\n  *Instead:* {place.remedy}" if place.remedy else "") for place in places if place.says]
        parts.append("\n\n".join(lines[:2]) + ("\n\n" + "\n".join(lines[2:]) if lines[2:] else ""))
    return "\n\n".join(parts) + "\n"


def _rules() -> Iterator[Rule]:
    for path in sorted(SOURCES.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield from _rules_of(node, constants)
                yield from _rules_by_position(node)
            elif isinstance(node, ast.FunctionDef):
                yield from _rules_by_default(node)


def _rules_of(call: ast.Call, constants: dict[str, str]) -> Iterator[Rule]:
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    rule = given.get("rule")
    if rule is None:
        return
    kind = "problem" if "what" in given else "decision"
    says, remedy = _words(given.get("what") or given.get("because")), _words(given.get("instead"))
    for branch in _branches(rule):
        name = constants.get(branch.id) if isinstance(branch, ast.Name) else branch.value if isinstance(branch, ast.Constant) else None
        if isinstance(name, str):
            yield Rule(name, kind, says, remedy)


def _rules_by_position(call: ast.Call) -> Iterator[Rule]:
    """Calls of a reader's own helper: ``self.problem("wrong-type", line, "what", instead="fix")``."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id if isinstance(call.func, ast.Name) else ""
    kind = next((kind for kind in ("problem", "decision") if kind in name), None)
    first = call.args[0] if call.args else None
    if kind is None or not isinstance(first, ast.Constant) or not isinstance(first.value, str) or not _ID.fullmatch(first.value):
        return
    says = next((words for argument in call.args[1:] if " " in (words := _words(argument))), "")
    remedy = next((_words(keyword.value) for keyword in call.keywords if keyword.arg == "instead"), "")
    yield Rule(first.value, kind, says, remedy)


def _rules_by_default(function: ast.FunctionDef) -> Iterator[Rule]:
    """A helper that has a rule of its own unless it is told another."""
    for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        if argument.arg == "rule" and isinstance(default, ast.Constant) and isinstance(default.value, str):
            yield Rule(default.value, "problem", "", "")


def _branches(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.IfExp):
        yield from (*_branches(node.body), *_branches(node.orelse))
    else:
        yield node


def _words(node: ast.expr | None) -> str:
    """A text with its placeholders; empty where it is made elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = node.value
    elif isinstance(node, ast.JoinedStr):
        text = "".join(part.value if isinstance(part, ast.Constant) else _placeholder(part) for part in node.values)
    elif isinstance(node, ast.IfExp):
        text = " / ".join(dict.fromkeys(word for word in (_words(node.body), _words(node.orelse)) if word))
    else:
        text = ""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _placeholder(part: ast.expr) -> str:
    names = [
        node.attr if isinstance(node, ast.Attribute) else node.id for node in ast.walk(part) if isinstance(node, ast.Attribute | ast.Name)
    ]
    return "{" + (names[0] if names else "…") + "}"


def main() -> int:
    """Write or check every page; returns the exit status."""
    check = "--check" in sys.argv[1:]
    stale = []
    pages = {
        "commands.md": commands(),
        "rules.md": rules(),
        "cortex-yaml.md": cortex_reference.page(NOTICE),
        "cortex.schema.json": cortex_reference.schema(),
    }
    for name, text in pages.items():
        path = PAGES / name
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale.append(path)
        if not check:
            path.write_text(text, encoding="utf-8")
    for path in stale:
        print(f"{'out of date' if check else 'wrote'}: {path.relative_to(ROOT)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
