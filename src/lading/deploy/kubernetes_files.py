"""A deployment's objects as files for GitOps: plain manifests, or a Kustomize base. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from lading.deploy.kubernetes_shape import MANAGER, NAME
from lading.model.secrets import Secret

# libyaml's where it is there: several times as fast.
_Base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_BASE = ("apiVersion", "kind", "resources")
_MARK = "# Written by lading deploy for {}. Change it in an overlay.\n"
"""How a Kustomize base begins: it has no labels."""


class _Dumper(_Base):  # type: ignore[misc] # libyaml's class has no types
    """Secrets print as they do everywhere, texts of several lines as such."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


def _secret(dumper: yaml.SafeDumper, value: Secret) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(value))


_Dumper.add_representer(str, _text)
_Dumper.add_multi_representer(Secret, _secret)


def as_yaml(objects: Iterable[Mapping[str, Any]]) -> str:
    """Objects as one YAML stream, keys in their order."""
    texts = (yaml.dump(dict(one), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True) for one in objects)
    return "---\n".join(texts)


def files(name: str, objects: Iterable[Mapping[str, Any]], *, kustomize: bool) -> dict[str, str]:
    """Files of a deployment by path. Secrets have none: a repository is no place for their values (see `secrets_to_make`)."""
    written: dict[str, str] = {}
    for one in objects:
        if one["kind"] != "Secret":
            written[f"{one['kind'].lower()}-{one['metadata']['name']}.yaml"] = as_yaml([one])
    if kustomize:
        base = dict(zip(_BASE, ("kustomize.config.k8s.io/v1beta1", "Kustomization", sorted(written)), strict=True))
        written["kustomization.yaml"] = _MARK.format(name) + as_yaml([base])
    return written


def is_written(text: str, name: str) -> bool:
    """Whether a file's text is of `files` for a deployment, so that it may be replaced or removed; anything else is somebody's own."""
    try:
        found = list(yaml.safe_load_all(text))
    except yaml.YAMLError:
        return False
    if text.startswith(_MARK.format(name)):
        return len(found) == 1 and isinstance(found[0], Mapping) and tuple(found[0]) == _BASE
    return bool(found) and all(isinstance(one, Mapping) and _is_of(one, name) for one in found)


def _is_of(obj: Mapping[str, Any], name: str) -> bool:
    metadata = obj.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    return isinstance(labels, Mapping) and (labels.get(MANAGER), labels.get(NAME)) == ("lading", name)


def secrets_to_make(objects: Iterable[Mapping[str, Any]]) -> list[str]:
    """The commands that make the Secrets that `files` leaves out, as ``deploy`` would, so that ``delete`` finds them.

    Their values come from a file of the user's: on a command line, everybody on the machine could read them.
    """
    commands = []
    for one in objects:
        if one["kind"] == "Secret":
            metadata = one["metadata"]
            where = f" -n {metadata['namespace']}" if "namespace" in metadata else ""
            names = ", ".join(one["stringData"])
            said = " ".join(f"{key}={value}" for key, value in metadata["labels"].items())
            made = f"kubectl create secret generic {metadata['name']}{where} --from-env-file=FILE"
            commands.append(f"{made}  # FILE has a line NAME=VALUE for each of {names}")
            commands.append(f"kubectl label secret {metadata['name']}{where} {said}")
    return commands
