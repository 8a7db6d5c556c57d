"""What ``lading deploy --dry-run`` prints and ``--output`` writes."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lading.cli.output import Output
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.model.secrets import Secret

if TYPE_CHECKING:
    from lading.deploy.engine import Deployment, EngineModule


def print_all(resources: Sequence[Mapping[str, Any]], output: Output) -> None:
    """What would be sent, as YAML or JSON; secrets print as they do everywhere."""
    from lading.deploy.kubernetes_files import as_yaml

    if output.as_json:
        output.json(_masked(resources))
    else:
        output.data(as_yaml(resources).rstrip())


def _masked(value: Any) -> Any:
    if isinstance(value, Secret):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _masked(one) for key, one in value.items()}
    return [_masked(one) for one in value] if isinstance(value, list | tuple) else value


def write_all(module: EngineModule, deployment: Deployment, resources: Sequence[Mapping[str, Any]], folder: Path, output: Output) -> None:
    """Write an engine's files into a folder: all of them or none. What of the folder was not written for the deployment stays.

    Raises:
        LadingError: if the engine has no files, or one of them would take the place of something else.
    """
    make = getattr(module, "files", None)
    if make is None:
        what = "This engine has no files that could be written."
        raise LadingError(Problem(rule="usage", what=what, origin=Origin("--output"), instead="Use --dry-run to see what would be done."))
    written: Mapping[str, str] = make(deployment, resources)
    earlier = _written_before(folder, deployment.name)
    strange = sorted(path for path in written if path not in earlier and (folder / path).exists())
    if strange or (folder.exists() and not folder.is_dir()):
        what = f"{folder} holds something else than manifests of {deployment.name}: {', '.join(strange) or 'it is a file'}."
        raise LadingError(Problem(rule="output-not-empty", what=what, origin=Origin("--output"), instead="Name a folder of its own."))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".lading-", dir=folder.parent) as aside:
        for path, text in written.items():
            (Path(aside) / path).write_text(text, encoding="utf-8")
        for path in written:
            (Path(aside) / path).replace(folder / path)
    # Manifests of objects that are not there any more would be applied for ever.
    for path in earlier - set(written):
        (folder / path).unlink()
    commands: list[str] = getattr(module, "secrets_to_make", lambda _resources: [])(resources)
    if commands:
        output.say("Secrets are not written. Make them in the cluster:\n" + "\n".join(f"  {one}" for one in commands))
    if output.as_json:
        output.json({"folder": str(folder), "files": sorted(written), "secrets": commands})
    else:
        output.data("\n".join(str(folder / path) for path in sorted(written)))


def _written_before(folder: Path, name: str) -> set[str]:
    """The files of a folder that an earlier run wrote for a deployment."""
    from lading.deploy.kubernetes_files import is_written

    found = [one for one in folder.glob("*.yaml") if one.is_file()] if folder.is_dir() else []
    return {one.name for one in found if is_written(one.read_text(encoding="utf-8", errors="replace"), name)}
