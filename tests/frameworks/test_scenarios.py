"""Scenarios: what is declared, for which target, on which indexes; what must be chosen, from where, and what is said.

Each is a small TOML file under ``scenarios/``. The pages are asked over real sockets, and what has an answer is resolved with the real uv.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from lading.explain.style import Style
from lading.explain.text import render_decisions, render_problems
from lading.formats import requirements_txt
from lading.frameworks import Choice, Context, choose_builds
from lading.frameworks.places import base
from lading.model.files import MemoryFiles
from lading.model.plan import Plan
from lading.model.requirements import Declaration, IndexOptions
from lading.model.secrets import SecretUrl
from lading.model.target import Gpu, Machine, Target
from lading.planner.make import with_machine_options, without_scoped
from lading.resolvers.offered import door_of, offered
from lading.resolvers.uv import resolve
from tests.frameworks.conftest import World
from tests.support.plans import plan_of

SCENARIOS = sorted(Path(__file__).with_name("scenarios").glob("*.toml"))
KEYS = {"explanation", "requirements", "constraints", "index", "target", "machine", "expect"}
EXPECTED = {"requirements", "from", "rules", "problems", "says", "silent", "locked"}


@dataclass(frozen=True)
class Scenario:
    """One scenario, read."""

    given: dict[str, Any]
    world: World

    def declaration(self) -> Declaration:
        files = {"requirements.txt": self._with_places(self.given["requirements"])}
        if "constraints" in self.given:
            files["requirements.txt"] += "-c constraints.txt\n"
            files["constraints.txt"] = self.given["constraints"]
        return requirements_txt.parse("requirements.txt", MemoryFiles(files), {})

    def _with_places(self, text: str) -> str:
        for name in ("own", "tools"):
            text = text.replace("{" + name + "}", self.world.index.url_of(name).rstrip("/"))
        return text

    def target(self) -> Target:
        target = self.given["target"]
        platform = target.get("platform", "x86_64-manylinux_2_36")
        return Target(python=target.get("python", "3.11.7"), platform=platform, accelerator=target.get("accelerator", "cpu"))

    def context(self, declaration: Declaration, root: Path) -> Context:
        machine = self.given.get("machine")
        context = Context(
            target=self.target(),
            options=declaration.options,
            constraints=declaration.constraints,
            explicit=self.given["target"].get("explicit", False),
            machine=Machine(driver=machine.get("driver"), gpus=tuple(Gpu(*one) for one in machine.get("gpus", ()))) if machine else None,
            off=self.given.get("index") == "off",
        )
        kind = self.given.get("index", "pytorch")
        if kind in ("nobody-asked", "off"):
            return context
        door = self.world.door(kind, root)
        own = door_of(context, root, door.cache).address
        reached = type(door)(address={**own, **door.address}, root=root, cache=door.cache, timeout=door.timeout)
        return replace(context, offers=offered(declaration.requirements, context, reached))

    def plan(self, declaration: Declaration, choice: Choice, context: Context) -> Plan:
        plan = plan_of(
            *choice.requirements,
            target=context.target,
            constraints=declaration.constraints,
            options=without_scoped(declaration.options, choice.scoped),
            bound=choice.bound,
        )
        machine = IndexOptions(index_url=SecretUrl(self.world.index.url))
        return with_machine_options(plan, machine, SecretUrl(self.world.mirrors[self.given.get("index", "pytorch")]))


def places(choice: Choice) -> dict[str, str]:
    """Where each bound package comes from: the part of the address below PyTorch's folder."""
    return {package: index.url.reveal().removeprefix(f"{base()}/") for index in choice.bound for package in index.packages}


@pytest.mark.parametrize("path", SCENARIOS, ids=[path.stem for path in SCENARIOS])
def test_scenario(path: Path, world: World, tmp_path: Path):
    given = tomllib.loads(path.read_text("utf-8"))
    expect = given["expect"]
    assert given["explanation"]
    assert given.keys() <= KEYS, given.keys() - KEYS
    assert expect.keys() <= EXPECTED, expect.keys() - EXPECTED
    scenario = Scenario(given, world)
    declaration = scenario.declaration()
    context = scenario.context(declaration, tmp_path)
    choice = choose_builds(declaration.requirements, context)
    assert [problem.rule for problem in choice.problems] == expect.get("problems", [])
    said = render_decisions(choice.decisions, Style(width=100_000)) + render_problems(choice.problems, Style(width=100_000))
    for text in expect.get("says", []):
        assert text in said
    for text in expect.get("silent", []):
        assert text not in said
    if choice.problems:
        return
    assert [one.rule for one in choice.decisions] == expect.get("rules", [])
    assert [one.pep508 for one in choice.requirements] == expect.get("requirements", [one.pep508 for one in declaration.requirements])
    found = places(choice)
    assert {name: found.get(name, "ordinary") for name in expect.get("from", {})} == expect.get("from", {})
    if "locked" in expect:
        lock = resolve(scenario.plan(declaration, choice, context), None, tmp_path)
        assert {name: lock.versions.get(name) for name in expect["locked"]} == expect["locked"]


def test_there_are_scenarios_for_every_row_of_the_table_of_cogs_answers():
    names = {path.stem for path in SCENARIOS}
    assert len(SCENARIOS) >= 60
    assert len([name for name in names if name.startswith("cog_")]) >= 20
