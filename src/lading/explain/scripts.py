"""A project's install scripts, as a plan shows them."""

from __future__ import annotations

from collections.abc import Iterable

from lading.explain.style import Style
from lading.explain.text import wrap
from lading.model.scripts import Script, When
from lading.model.secrets import redact_urls

_SHOWN = 12
"""Commands of one script that are shown."""


def render_scripts(scripts: Iterable[Script], style: Style) -> str:
    """Each script: what becomes of it, why, and its commands."""
    lines = [style.paint("Install scripts", "bold")]
    for script in scripts:
        lines.append(wrap(f"{script.path}: {_fate(script)}", style, "  ", "    "))
        lines += [f"      {redact_urls(command)}" for command in script.commands[:_SHOWN]]
        if len(script.commands) > _SHOWN:
            lines.append(f"      ... and {len(script.commands) - _SHOWN} more lines")
    return "\n".join(lines)


def _fate(script: Script) -> str:
    if script.harmless:
        return f"nothing to run, because {script.because}"
    if script.when is When.LINKED:
        return f"not run unasked, because {script.because}; `lading install --allow-scripts` runs it"
    when = "before" if script.when is When.BEFORE else "after"
    return (
        f"not run unasked, because {script.because}; `lading install --allow-scripts` runs it {when} the packages are installed, "
        "and declarations of what it installs need no script"
    )
