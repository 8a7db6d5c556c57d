"""The page and the JSON Schema about ``cortex.yaml``, from the table of its fields; written by make_reference.py."""

from __future__ import annotations

import json

from lading.formats._cortex_table import ALLOWED, SECTIONS, Field, json_schema

_INTRODUCTION = """\
A list of APIs, as Cortex 0.30 to 0.35 reads it. Every problem of the file is shown at once, with its line. Unknown keys are problems;
keys of older versions (`monitoring`, `networking.api_gateway`, `networking.local_port`, `predictor.model_path`, `predictor.models` as a list) are read with a note.
Editors check and complete the file with [cortex.schema.json](cortex.schema.json)."""
_TITLES = {"": "An API", "paths": "models.paths", "apis": "apis (TrafficSplitter)", "dependencies": "predictor.dependencies"}


def page(notice: str) -> str:
    """The page."""
    kinds = [
        "| kind | its keys |",
        "|---|---|",
        *(f"| {kind} | {', '.join(f'`{key}`' for key in keys)} |" for kind, keys in ALLOWED.items()),
    ]
    parts = ["# cortex.yaml", notice, _INTRODUCTION, "\n".join(kinds)]
    for section, fields in SECTIONS.items():
        parts += [
            f"## {_TITLES.get(section, section)}",
            "\n".join(["| key | default | value | for |", "|---|---|---|---|", *map(_row, fields)]),
        ]
    return "\n\n".join(parts) + "\n"


def schema() -> str:
    """The JSON Schema."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _row(field: Field) -> str:
    where = (
        f"{'a list of maps' if field.many else 'a map'}, see `{_TITLES.get(field.section, field.section)}`"
        if field.section
        else _kind(field)
    )
    rule = "; ".join(part for part in (where, field.rule) if part)
    return f"| `{field.key}` | {f'`{field.default}`' if field.default else ''} | {rule} | {field.only} |".replace("  ", " ")


def _kind(field: Field) -> str:
    given = field.schema.get("type")
    if "enum" in field.schema:
        return " or ".join(f"`{value}`" for value in field.schema["enum"])
    names = [given] if isinstance(given, str) else list(given or ())
    bounds = [
        f"from {field.schema['minimum']}" if "minimum" in field.schema else "",
        f"to {field.schema['maximum']}" if "maximum" in field.schema else "",
    ]
    return " ".join(part for part in (" or ".join(map(str, names)), *bounds) if part)
