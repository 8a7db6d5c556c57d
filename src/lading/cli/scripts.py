"""A project's install scripts on the way to its environment: run with the user's yes, told of otherwise."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path

from lading.cli.output import Output
from lading.environments.scripts import Consent, Policy, consent_to, has_run, remember, remembered, run_script
from lading.explain.scripts import render_scripts
from lading.model.plan import Plan
from lading.model.scripts import Script, When

_OURS = ("PATH", "VIRTUAL_ENV")


class Scripts(Enum):
    """What a verb does about scripts that have not run: run them, ask once on a terminal, or only tell."""

    RUN = "run"
    ASK = "ask"
    TELL = "tell"


def settle_scripts(plans: Iterable[Plan], when: When, mode: Scripts, output: Output, *, root: Path, environ: Mapping[str, str]) -> None:
    """Run the scripts of the plans whose time it is, where that is allowed; each once a project and content.

    Raises:
        LadingError: if one fails. What follows it is then not done.
    """
    # What the command line added to this process's variables came by --secret.
    hidden = tuple(value for name, value in environ.items() if name not in _OURS and os.environ.get(name) != value)
    for plan in plans:
        variables = {**environ, **{name: value for api in plan.apis for name, value in api.env}}
        for script in plan.scripts:
            if script.harmless or script.when is not when or has_run(script, root):
                continue
            if _may_run(script, mode, output):
                run_script(script, root, variables, output.reporter, output.say, hidden=hidden)
            else:
                output.say(f"{script.path} was not run. `lading install --allow-scripts` runs it, `lading plan` shows it.")


def policy(mode: Scripts, output: Output) -> Policy:
    """What is done about the scripts of conda packages.

    The same as `settle_scripts` does; but every verb that builds a prefix runs what was allowed before, as the prefix would be another one
    without.
    """
    return Policy(lambda script: remembered(script) or _may_run(script, mode, output), output.say)


def inside(environ: Mapping[str, str], environment: str) -> Mapping[str, str]:
    """The variables for a script that runs inside of an environment."""
    path = os.pathsep.join([str(Path(environment) / "bin"), environ.get("PATH", os.defpath)])
    return {**environ, "PATH": path, "VIRTUAL_ENV": environment}


def _may_run(script: Script, mode: Scripts, output: Output) -> bool:
    answer = consent_to(script).allowed
    if mode is Scripts.RUN or (mode is Scripts.ASK and answer):
        return True
    if mode is Scripts.TELL or answer is not None or output.quiet or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    output.say(render_scripts([script], output.talk_style))
    output.pause()
    print(f"Run {script.path} on this machine? The answer is remembered for this content. [y/N] ", end="", file=sys.stderr, flush=True)
    allowed = sys.stdin.readline().strip().lower() in ("y", "yes")
    remember(script, Consent(allowed))
    return allowed
