"""What a Cortex configuration says that has no effect here, as decisions."""

from __future__ import annotations

from lading.model.decisions import Decision, Kind
from lading.model.origin import Origin


def old_key(key: str, where: str, origin: Origin) -> Decision:
    return Decision(
        rule="key-without-effect",
        kind=Kind.ADVICE,
        subject=key,
        asked=f"{where}: {key}",
        chose="no effect",
        because="it is a key of Cortex 0.25 and older" + (", from its local server; the port is -p here" if key == "local_port" else ""),
        origin=origin,
        instead="-p PORT" if key == "local_port" else None,
    )


def image(where: str, origin: Origin) -> Decision:
    return Decision(
        rule="image-not-used",
        kind=Kind.ADVICE,
        subject="predictor.image",
        asked=f"{where}: image",
        chose="an environment on this machine",
        because="Lading builds the environment from the declared dependencies; packages that only the image holds must be declared",
        origin=origin,
    )


def for_clusters(keys: str, origin: Origin) -> Decision:
    return Decision(
        rule="cluster-settings-not-used",
        kind=Kind.ADVICE,
        subject="cortex.yaml",
        asked=keys,
        chose="no effect",
        because="they are for a cluster, and this serves on one machine",
        origin=origin,
    )


def serving_image(where: str, origin: Origin) -> Decision:
    """``tensorflow_serving_image``: the model runs in the environment, without a server of its own."""
    return Decision(
        rule="image-not-used",
        kind=Kind.ADVICE,
        subject="tensorflow_serving_image",
        asked=f"{where}: tensorflow_serving_image",
        chose="the TensorFlow of the model's environment",
        because="the SavedModel is loaded by the predictor's own process; no server of its own is started",
        origin=origin,
        instead="LADING_TENSORFLOW_SERVING=http://HOST:8501 for a TensorFlow Serving that runs already",
    )


def grpc_endpoint(where: str, endpoint: str, origin: Origin) -> Decision:
    """``networking.endpoint`` of an API that is called by gRPC, whose paths its service says."""
    return Decision(
        rule="key-without-effect",
        kind=Kind.ADVICE,
        subject="networking.endpoint",
        asked=f"{where}: networking: endpoint",
        chose=endpoint,
        because="gRPC calls a method by the names of its service and itself (predictor.protobuf_path)",
        origin=origin,
    )


def old_models(key: str, where: str, origin: Origin, *, several: bool = False) -> Decision:
    """``model_path`` and ``model`` of Cortex before 0.22, read as ``models.path``, and its list of ``models`` as ``models.paths``."""
    return Decision(
        rule="old-key-read",
        kind=Kind.CHOSEN,
        subject=key,
        asked=f"{where}: {key}",
        chose="models: paths:" if several else "models: path:",
        because="Cortex 0.22 and later write it so",
        origin=origin,
    )
