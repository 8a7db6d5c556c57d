"""``protobuf_path``: the rules that Cortex has for the file it names (one service, ``rpc Predict``, the API's name as the package)."""

from __future__ import annotations

from lading.formats._cortex_fields import Fields
from lading.formats._proto import Proto, read_proto
from lading.formats._text import read_text
from lading.formats._yaml import shortened
from lading.model.cortex import Grpc
from lading.model.files import ProjectFiles

_KEY = "protobuf_path"


def read_grpc(predictor: Fields, path: str, files: ProjectFiles, *, api: str, handler: bool) -> Grpc | None:
    """How the API is called by gRPC; None, with a problem, if its ``.proto`` file is not what Cortex takes.

    A ``Handler`` (Cortex 0.34 and 0.35) answers every method of the service, by a method of its own of the same name.
    """
    proto = read_proto(read_text(path, files))
    complaint = _complaint(proto, api.replace("-", "_"), handler=handler)
    if complaint is not None:
        message, instead = complaint
        predictor.problem(f"{shortened(path)}: {message}", predictor.line(_KEY), instead, key=_KEY)
        return None
    (service,) = proto.services
    return Grpc(path=path, service=f"{proto.package}.{service.name}", methods=service.methods)


def _complaint(proto: Proto, package: str, *, handler: bool) -> tuple[str, str] | None:
    """What is wrong with the file, and what to write instead; None if nothing is."""
    if len(proto.services) != 1:
        found = ", ".join(service.name for service in proto.services) or "none"
        return f"exactly one service must be defined (found {found})", "Define one service."
    (service,) = proto.services
    names = [method.name for method in service.methods]
    if not names or (not handler and names != ["Predict"]):
        wanted = "at least one method" if handler else "one method, whose name is Predict"
        there = ", ".join(names) or "none"
        return f"the service {service.name} must define {wanted} (found {there})", "Write rpc Predict (Request) returns (Response);"
    if proto.package != package:
        there = f'got "{proto.package}"' if proto.package else "it declares none"
        return f'the package must be "{package}", after the name of the API ({there})', f"Write package {package};"
    return None
