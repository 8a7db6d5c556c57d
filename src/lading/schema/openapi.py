"""OpenAPI 3.0.2 documents: the one Cog makes for a typed predictor, and a general one for Cortex APIs.

The shape follows Cog's (``pkg/schema/openapi.go``), so that clients and web forms made for it work. Two differences are on purpose,
because the document should say what the server accepts: ``Any`` has no ``type`` (Cog says ``object``), and an input whose default
is ``None`` is optional (Cog's newest reader requires it, Secrets excepted).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_REFERENCE = "#/components/schemas/"
_STATUSES = ("starting", "processing", "succeeded", "canceled", "failed")
_SCALARS: dict[str, dict[str, Any]] = {
    "any": {},
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "str": {"type": "string"},
    "path": {"type": "string", "format": "uri"},
    "file": {"type": "string", "format": "uri"},
    "secret": {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True},
}
_KEYWORDS = {"ge": "minimum", "le": "maximum", "min_length": "minLength", "max_length": "maxLength", "regex": "pattern"}
_JSON_TYPES: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}


def make_openapi(signature: Mapping[str, Any], title: str, version: str) -> dict[str, Any]:
    """The document of one typed predictor.

    Args:
        signature: as JSON data (`Signature.as_json`).
        title: the document's title; Cog writes ``Cog``.
        version: the document's version; Cog writes ``0.1.0``.
    """
    return {
        "openapi": "3.0.2",
        "info": {"title": title, "version": version},
        "paths": _prediction_paths(streaming=bool(signature.get("streaming"))),
        "components": {"schemas": _schemas(signature)},
    }


def make_cortex_openapi(apis: Iterable[tuple[str, str]], title: str = "Lading", version: str = "0.1.0") -> dict[str, Any]:
    """The document of Cortex APIs, whose payloads have no declared type: one path for each ``(name, endpoint)``."""
    content: dict[str, Any] = {kind: {"schema": {}} for kind in ("application/json", "text/plain", "application/octet-stream")}
    paths: dict[str, Any] = {}
    for name, endpoint in apis:
        paths[endpoint] = {
            "post": {
                "summary": name,
                "operationId": f"predict_{_identifier(name)}_post",
                "requestBody": {"content": content},
                "responses": {
                    "200": {"description": "What predict returned", "content": content},
                    "400": {"description": "The body is not what its content type says"},
                    "500": {"description": "predict failed"},
                },
            }
        }
    paths["/health-check"] = _get("Healthcheck", "healthcheck_health_check_get")
    return {"openapi": "3.0.2", "info": {"title": title, "version": version}, "paths": paths, "components": {"schemas": {}}}


def _identifier(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _schemas(signature: Mapping[str, Any]) -> dict[str, Any]:
    enums: dict[str, Any] = {}
    schemas = {"Input": _input_schema(signature["inputs"], enums), "Output": _output_schema(signature["output"])}
    schemas.update(enums)
    schemas.update(_envelopes())
    return schemas


def _input_schema(inputs: Iterable[Mapping[str, Any]], enums: dict[str, Any]) -> dict[str, Any]:
    properties = {field["name"]: _property(field, order, enums) for order, field in enumerate(inputs)}
    schema: dict[str, Any] = {"title": "Input", "type": "object", "properties": properties}
    required = [field["name"] for field in inputs if field["required"]]
    return {**schema, "required": required} if required else schema


def _property(field: Mapping[str, Any], order: int, enums: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"x-order": order}
    choices = _choices(field)
    if choices is not None:
        name = _enum_name(field["name"], enums)
        enums[name] = _enum(name, choices)
        made["allOf"] = [{"$ref": _REFERENCE + name}]
    else:
        made["title"] = _title(field["name"])
        made.update(type_schema(field["type"]))
    target = made["items"] if field["type"]["kind"] == "list" and choices is None else made
    target.update({keyword: field[name] for name, keyword in _KEYWORDS.items() if name in field})
    if field["type"]["kind"] == "list" and field.get("choices"):
        target["enum"] = list(field["choices"])
    if "default" in field and field["type"]["kind"] != "secret":
        made["default"] = field["default"]
    elif "default" in field and field["default"] is None:
        made["default"] = None
    if field.get("nullable"):
        made["nullable"] = True
    for name, keyword in (("description", "description"), ("deprecated", "deprecated"), ("accept", "x-cog-accept")):
        if name in field:
            made[keyword] = field[name]
    return made


def _choices(field: Mapping[str, Any]) -> list[Any] | None:
    """The values of an input that is one of several: by ``choices``, ``Literal`` or an enum. Cog refers to those by name."""
    kind = field["type"]
    if kind["kind"] in ("literal", "enum"):
        values = _values(kind)
    elif field.get("choices") and kind["kind"] != "list":
        values = list(field["choices"])
    else:
        return None
    return [value for value in values if "choices" not in field or value in field["choices"]]


def _enum_name(name: str, enums: Mapping[str, Any]) -> str:
    """The input's own name, as in Cog; an input that is named like an envelope gets a longer one."""
    taken = {*enums, "Input", "Output", *_envelopes()}
    while name in taken:
        name += "Choices"
    return name


def _enum(name: str, values: list[Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"title": name, "description": "An enumeration.", "enum": values}
    kinds = {_JSON_TYPES.get(type(value)) for value in values}
    kind = kinds.pop() if len(kinds) == 1 else None
    return {**made, "type": kind} if kind else made


def _output_schema(kind: Mapping[str, Any]) -> dict[str, Any]:
    return {**type_schema(kind), "title": "Output"}


def type_schema(kind: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of a TYPE."""
    name = kind["kind"]
    if name in _SCALARS:
        return dict(_SCALARS[name])
    if name == "list":
        return {"type": "array", "items": type_schema(kind["items"])}
    if name == "iterator":
        made: dict[str, Any] = {"type": "array", "items": type_schema(kind["items"]), "x-cog-array-type": "iterator"}
        return {**made, "x-cog-array-display": "concatenate"} if kind.get("concatenate") else made
    if name == "dict":
        values = type_schema(kind["values"])
        return {"type": "object", "additionalProperties": values} if values else {"type": "object"}
    if name == "object":
        return _object_schema(kind)
    if name == "union":
        return _union_schema(kind["types"])
    if name == "null":
        return {"nullable": True, "enum": [None]}
    return {key: value for key, value in _enum("", _values(kind)).items() if key in ("enum", "type")}


def _values(kind: Mapping[str, Any]) -> list[Any]:
    return list(kind["values"] if kind["kind"] == "literal" else kind["members"].values())


def _object_schema(kind: Mapping[str, Any]) -> dict[str, Any]:
    properties = {field["name"]: {**type_schema(field["type"]), "title": _title(field["name"])} for field in kind["fields"]}
    required = [field["name"] for field in kind["fields"] if field["required"]]
    made: dict[str, Any] = {"type": "object", "properties": properties}
    return {**made, "required": required} if required else made


def _union_schema(types: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """``anyOf``; ``null`` is a mark in OpenAPI 3.0, not a type."""
    rest = [type_schema(part) for part in types if part["kind"] != "null"]
    made = rest[0] if len(rest) == 1 else {"anyOf": rest}
    return made if len(rest) == len(list(types)) else {**made, "nullable": True}


def _title(name: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in name.split("_") if word)


def _envelopes() -> dict[str, Any]:
    text = {"type": "string"}
    moment = {"type": "string", "format": "date-time"}
    response = {
        "input": {"$ref": _REFERENCE + "Input"},
        "output": {"$ref": _REFERENCE + "Output"},
        "id": {"title": "Id", **text},
        "version": {"title": "Version", **text},
        "created_at": {"title": "Created At", **moment},
        "started_at": {"title": "Started At", **moment},
        "completed_at": {"title": "Completed At", **moment},
        "status": {"title": "Status", **text},
        "error": {"title": "Error", **text},
        "logs": {"title": "Logs", **text},
        "metrics": {"title": "Metrics", "type": "object"},
    }
    request = {"id": {"title": "Id", **text}, "input": {"$ref": _REFERENCE + "Input"}}
    place = {"title": "Location", "type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}
    detail = {"title": "Detail", "type": "array", "items": {"$ref": _REFERENCE + "ValidationError"}}
    return {
        "PredictionRequest": {"title": "PredictionRequest", "type": "object", "properties": request},
        "PredictionResponse": {"title": "PredictionResponse", "type": "object", "properties": response},
        "Status": {"title": "Status", "description": "An enumeration.", "enum": list(_STATUSES), "type": "string"},
        "HTTPValidationError": {"title": "HTTPValidationError", "type": "object", "properties": {"detail": detail}},
        "ValidationError": {
            "title": "ValidationError",
            "required": ["loc", "msg", "type"],
            "type": "object",
            "properties": {"loc": place, "msg": {"title": "Message", **text}, "type": {"title": "Error Type", **text}},
        },
    }


def _prediction_paths(*, streaming: bool) -> dict[str, Any]:
    body = {"requestBody": {"content": {"application/json": {"schema": {"$ref": _REFERENCE + "PredictionRequest"}}}}}
    answer = _responses({"$ref": _REFERENCE + "PredictionResponse"})
    told = {"description": "Run a single prediction on the model"}
    marks: dict[str, Any] = {"x-cog-streaming": True} if streaming else {}
    identifier = [_path_parameter("prediction_id", "Prediction Id")]
    create = {"summary": "Predict", **told, "operationId": "predict_predictions_post", **body, "responses": answer, **marks}
    put = {"summary": "Predict Idempotent", **told, "operationId": "predict_idempotent_predictions__prediction_id__put"}
    cancel = {"summary": "Cancel", "operationId": "cancel_predictions__prediction_id__cancel_post"}
    return {
        "/": _get("Root", "root__get"),
        "/health-check": _get("Healthcheck", "healthcheck_health_check_get"),
        "/predictions": {"post": create},
        "/predictions/{prediction_id}": {"put": {**put, "parameters": identifier, **body, "responses": answer, **marks}},
        "/predictions/{prediction_id}/cancel": {"post": {**cancel, "parameters": identifier, "responses": _responses({})}},
    }


def _path_parameter(name: str, title: str) -> dict[str, Any]:
    return {"required": True, "schema": {"title": title, "type": "string"}, "name": name, "in": "path"}


def _get(summary: str, operation: str) -> dict[str, Any]:
    return {"get": {"summary": summary, "operationId": operation, "responses": {"200": _success({})}}}


def _success(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "Successful Response", "content": {"application/json": {"schema": schema}}}


def _responses(schema: dict[str, Any]) -> dict[str, Any]:
    refused = {"schema": {"$ref": _REFERENCE + "HTTPValidationError"}}
    return {"200": _success(schema), "422": {"description": "Validation Error", "content": {"application/json": refused}}}
