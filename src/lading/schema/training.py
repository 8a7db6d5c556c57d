"""What ``/trainings`` takes and gives, in a document that `lading.schema.openapi` made: Cog's names, ``TrainingInput`` and so on."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from lading.schema.openapi import make_openapi

_RENAMED = {
    "Input": "TrainingInput",
    "Output": "TrainingOutput",
    "PredictionRequest": "TrainingRequest",
    "PredictionResponse": "TrainingResponse",
}
_SHARED = ("Status", "HTTPValidationError", "ValidationError")
_REFERENCE = "#/components/schemas/"


def add_training(document: Mapping[str, Any], signature: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the training of this signature added to it."""
    made = copy.deepcopy(dict(document))
    training = make_openapi(signature, "", "")
    names = {name: _name(name, made["components"]["schemas"]) for name in training["components"]["schemas"] if name not in _SHARED}
    for name, new in names.items():
        schema = _renamed(training["components"]["schemas"][name], names)
        made["components"]["schemas"][new] = {**schema, "title": new} if "title" in schema else schema
    for name in _SHARED:
        made["components"]["schemas"].setdefault(name, training["components"]["schemas"][name])
    for path, operations in training["paths"].items():
        if path.startswith("/predictions"):
            made["paths"][path.replace("prediction", "training")] = _of_training(_renamed(operations, names))
    return made


def _name(name: str, taken: Mapping[str, Any]) -> str:
    """The name of a schema of training: an input with choices has one of its own, which predictions may have, too."""
    return _RENAMED.get(name) or (f"Training{name}" if name in taken else name)


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str) and reference.removeprefix(_REFERENCE) in names:
        return {"$ref": _REFERENCE + names[reference.removeprefix(_REFERENCE)]}
    return {key: _renamed(item, names) for key, item in value.items()}


def _of_training(operations: Mapping[str, Any]) -> dict[str, Any]:
    made = {}
    for method, operation in operations.items():
        identifier = (
            operation["operationId"].replace("predictions", "trainings").replace("prediction", "training").replace("predict", "train")
        )
        told = {
            "summary": operation["summary"].replace("Predict", "Train"),
            "operationId": identifier if "training" in identifier else f"train_{identifier}",
        }
        if "description" in operation:
            told["description"] = "Run a single training on the model"
        made[method] = {**{key: value for key, value in operation.items() if key != "x-cog-streaming"}, **told}
        for parameter in made[method].get("parameters", ()):
            parameter.update(name="training_id", schema={"title": "Training Id", "type": "string"})
    return made
