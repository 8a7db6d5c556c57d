"""Everything that is known about one package: who asked for it, what was locked, who needs it, every decision."""

from __future__ import annotations

from typing import Any

from lading.explain.conda import find_package, needed_by
from lading.explain.style import Style
from lading.explain.text import render_decisions, wrap
from lading.model.conda import MatchSpec
from lading.model.decisions import Decision
from lading.model.lock import Lock
from lading.model.plan import Plan
from lading.model.records import dataclass
from lading.model.requirements import Declared


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What one plan and its lock say about one package."""

    name: str
    declared: tuple[Declared, ...]
    decisions: tuple[Decision, ...]
    specs: tuple[MatchSpec, ...] = ()
    version: str | None = None
    index: str | None = None
    files: tuple[str, ...] = ()
    needed_by: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data."""
        return {
            "name": self.name,
            "version": self.version,
            "index": self.index,
            "files": list(self.files),
            "declared": [declared.as_json() for declared in self.declared],
            **({"conda": [spec.as_json() for spec in self.specs]} if self.specs else {}),
            "needed_by": list(self.needed_by),
            "decisions": [decision.as_json() for decision in self.decisions],
        }


def explain_package(name: str, plan: Plan, lock: Lock | None) -> Explanation | None:
    """What is known about ``name`` (canonical), or None when nothing is."""
    declared = tuple(one for one in (*plan.requirements, *plan.constraints) if one.name == name)
    package = next((one for one in lock.packages if one["name"] == name), None) if lock else None
    decisions = tuple(one for one in plan.decisions if one.subject == name or _names(one, name, declared))
    conda = find_package(name, lock.conda if lock else None)
    specs = tuple(spec for spec in (plan.conda.specs if plan.conda else ()) if conda is not None and spec.name == conda.name)
    if not declared and package is None and not decisions and conda is None:
        return None
    dependents = sorted(
        one["name"] for one in (lock.packages if lock else ()) if any(need.get("name") == name for need in one.get("dependencies", ()))
    )
    if conda is not None and lock is not None and lock.conda is not None:
        return Explanation(
            name=name,
            declared=declared,
            specs=specs,
            decisions=decisions,
            version=f"{conda.version} by conda",
            index=conda.channel,
            files=(conda.file_name,),
            needed_by=(*needed_by(conda, lock.conda.packages), *dependents),
        )
    return Explanation(
        name=name,
        declared=declared,
        decisions=decisions,
        version=package.get("version") if package else None,
        index=package.get("index") if package else None,
        files=tuple(_file_names(package)) if package else (),
        needed_by=tuple(dependents),
    )


def _names(decision: Decision, name: str, declared: tuple[Declared, ...]) -> bool:
    """Whether a grouped decision is about this package too."""
    return decision.rule == "versions-float" and any(one.name == name and not one.is_pinned for one in declared)


def _file_names(package: Any) -> list[str]:
    files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else [])]
    return [str(one.get("name") or str(one.get("url", one.get("path", ""))).rsplit("/", 1)[-1]) for one in files]


def render_explanation(explanation: Explanation, style: Style) -> str:
    """The explanation as text."""
    version = f" {explanation.version}" if explanation.version else " (not locked)"
    facts = [f"asked for: {one.pep508} ({one.origin})" for one in explanation.declared]
    facts += [f"asked for: {spec.shown} ({spec.origin})" for spec in explanation.specs]
    if not explanation.declared and not explanation.specs and explanation.name != "python":
        facts.append("asked for: by nobody here; another package needs it")
    facts += [f"needed by: {', '.join(explanation.needed_by)}"] if explanation.needed_by else []
    facts += [f"from: {explanation.index}"] if explanation.index else []
    others = f" and {len(explanation.files) - 1} more" if len(explanation.files) > 1 else ""
    facts += [f"file: {explanation.files[0]}{others}"] if explanation.files else []
    lines = [style.paint(explanation.name, "bold") + version, *(wrap(fact, style, "  ", "    ") for fact in facts)]
    if explanation.decisions:
        lines.append(render_decisions(explanation.decisions, style))
    return "\n".join(lines)
