"""A deployment's objects as files for GitOps: plain manifests, or a Kustomize base. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from lading.model.secrets import Secret

# libyaml's where it is there: several times as fast.
_Base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


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


def files(objects: Iterable[Mapping[str, Any]], *, kustomize: bool) -> dict[str, str]:
    """Files by path. Secrets have none: a repository is no place for their values (see `secrets_to_make`)."""
    written: dict[str, str] = {}
    for one in objects:
        if one["kind"] != "Secret":
            written[f"{one['kind'].lower()}-{one['metadata']['name']}.yaml"] = as_yaml([one])
    if kustomize:
        base = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": sorted(written)}
        written["kustomization.yaml"] = as_yaml([base])
    return written


def secrets_to_make(objects: Iterable[Mapping[str, Any]]) -> list[str]:
    """The commands that make the Secrets that `files` leaves out; values to be filled in."""
    commands = []
    for one in objects:
        if one["kind"] == "Secret":
            literals = " ".join(f"--from-literal={name}=..." for name in one["stringData"])
            commands.append(f"kubectl create secret generic {one['metadata']['name']} {literals}")
    return commands
