"""Fields of a Cortex API, checked in Cortex's words.

A message has Cortex's shape (``iris (RealtimeAPI): predictor: path: must be defined``), to which a problem adds the line and the fix.
Cortex shows the first one only; here all of them are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import replace

from lading.formats._checks import Checker
from lading.formats._cortex_table import keys
from lading.formats._near import did_you_mean
from lading.formats._yaml import Entry, Map, Node, Scalar, kind_of, shortened
from lading.model.cluster import Autoscaling, Compute, UpdateStrategy
from lading.model.records import dataclass

CANNOT_BE_NULL = "cannot be null (specify a value, or remove the key to use the default value)"
_QUANTITY = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][-+]?[0-9]{1,3})?")
_FACTORS = {
    "": 1.0,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
    "Pi": 2.0**50,
    "Ei": 2.0**60,
}
_HUGE = 10**15
_DURATION = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def quantity(text: str) -> float | None:
    """A Kubernetes quantity as a number: ``200m`` is 0.2, ``1Gi`` is 2**30; None if it is none."""
    found = _QUANTITY.fullmatch(text)
    if not found:
        return None
    suffix = found[2] or ""
    return float(found[1]) * (_FACTORS[suffix] if suffix in _FACTORS else float(f"1{suffix}"))


def duration(text: str) -> float | None:
    """A Go duration in seconds: ``1m30s`` is 90; None if it is none."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return float(sum(float(number) * _SECONDS[unit] for number, unit in parts))


@dataclass(frozen=True, slots=True)
class Fields:
    """One map of an API's configuration. ``where`` is its place in words: ``iris (RealtimeAPI): predictor``."""

    check: Checker
    node: Map
    where: str

    def problem(self, message: str, line: int, instead: str | None = None, *, key: str = "", rule: str = "cortex-config-invalid") -> None:
        """Keep a problem of a key, or of the map itself."""
        place = ": ".join(part for part in (self.where, key) if part)
        self.check.problem(rule, line, f"{place}: {message}", instead=instead)

    def known(self, keys: Collection[str], *, old: Collection[str] = ()) -> None:
        """Refuse keys that are neither known nor of an older Cortex."""
        for entry in self.node:
            if entry.key not in keys and entry.key not in old:
                near = did_you_mean(entry.key, keys)
                instead = f"Did you mean {near}?" if near else f"Known keys: {', '.join(keys)}."
                self.problem(f'key "{shortened(entry.key)}" is not supported', entry.line, instead)

    def section(self, key: str, *, required: bool = False, instead: str = "") -> Fields | None:
        """A map below a key."""
        entry = self.node.get(key)
        if entry is None:
            if required:
                self.problem("must be defined", self.node.line, instead or f"Add {key}:", key=key)
            return None
        if isinstance(entry.value, Map):
            return replace(self, node=entry.value, where=f"{self.where}: {key}")
        message = CANNOT_BE_NULL if _null(entry.value) else f"invalid type (expected a map, got {kind_of(entry.value)})"
        self.problem(message, entry.value.line, f"Write the keys of {key} below it, indented.", key=key)
        return None

    def text(
        self, key: str, *, required: bool = False, null: bool = False, choices: Collection[str] = (), instead: str | None = None
    ) -> str | None:
        """A text that is not empty, or None."""
        entry = self.node.get(key)
        if entry is None:
            if required:
                allowed = f", and set to {_either(choices)}" if choices else ""
                self.problem(f"must be defined{allowed}", self.node.line, instead or f"Add {key}: ...", key=key)
            return None
        value = self._scalar(entry, null=null)
        if value is None:
            return None
        if not isinstance(value.value, str):
            self.problem(f"{value.text}: invalid type (expected string)", value.line, f'Write {key}: "{value.text}".', key=key)
            return None
        if not value.value.strip():
            self.problem("cannot be empty", value.line, instead or f"Write a value, or remove {key}.", key=key)
            return None
        if choices and value.value not in choices:
            near = did_you_mean(value.value, choices)
            message = f'invalid value (got "{shortened(value.value)}", must be {_either(choices)})'
            self.problem(message, value.line, f"Did you mean {near}?" if near else f"Write {key}: {next(iter(choices))}.", key=key)
            return None
        return value.value

    def integer(self, key: str, default: int, *, least: int | None = None, most: int | None = None) -> int:
        """A whole number within bounds; the default when it is absent or wrong."""
        entry = self.node.get(key)
        value = self._scalar(entry) if entry else None
        if value is None:
            return default
        if type(value.value) is not int:
            self.problem(f'"{shortened(value.text)}": invalid type (expected integer)', value.line, f"Write {key}: {default}.", key=key)
            return default
        found = self._bounded(key, value, _finite(value.value), least, most)
        return default if found is None else int(found)

    def number(
        self, key: str, default: float, *, least: float | None = None, below: float | None = None, above: float | None = None
    ) -> float:
        """A number within bounds; the default when it is absent or wrong."""
        entry = self.node.get(key)
        value = self._scalar(entry) if entry else None
        if value is None:
            return default
        if isinstance(value.value, bool) or not isinstance(value.value, int | float):
            self.problem(f'"{shortened(value.text)}": invalid type (expected float)', value.line, f"Write {key}: {default}.", key=key)
            return default
        if below is not None and value.value >= below:
            self.problem(f"must be less than {below} (got {value.text})", value.line, f"Write, for example, {key}: {default}.", key=key)
            return default
        if above is not None and value.value <= above:
            self.problem(f"must be greater than {above} (got {value.text})", value.line, f"Write, for example, {key}: {default}.", key=key)
            return default
        found = self._bounded(key, value, _finite(value.value), least, None)
        return default if found is None else found

    def quantity(self, key: str, default: float | None, *, least: str) -> float | None:
        """A Kubernetes quantity as a number; ``null`` is allowed."""
        found = self._measured(key, quantity, least, null=True)
        return default if found is None else found

    def duration(self, key: str, default: float, *, least: str = "0s") -> float:
        """A duration in seconds."""
        found = self._measured(key, duration, least, null=False)
        return default if found is None else found

    def _measured(self, key: str, parse: Callable[[str], float | None], least: str, *, null: bool) -> float | None:
        entry = self.node.get(key)
        value = self._scalar(entry, null=null) if entry else None
        if value is None:
            return None
        found, kind = parse(value.text), parse.__name__
        if found is None:
            example = "1Gi or 200m" if kind == "quantity" else "60s or 5m"
            self.problem(f'"{shortened(value.text)}": invalid {kind}', value.line, f"A {kind} is written like {example}.", key=key)
        elif found < (parse(least) or 0):
            self.problem(f"must be greater than or equal to {least} (got {value.text})", value.line, f"Write {key}: {least}.", key=key)
            return None
        return found

    def _bounded(self, key: str, value: Scalar, number: float, least: float | None, most: float | None) -> float | None:
        if least is not None and number < least:
            self.problem(f"must be greater than or equal to {least:g} (got {value.text})", value.line, f"Write {key}: {least:g}.", key=key)
        elif most is not None and number > most:
            self.problem(f"must be less than or equal to {most:g} (got {value.text})", value.line, f"Write {key}: {most:g}.", key=key)
        else:
            return number
        return None

    def _scalar(self, entry: Entry, *, null: bool = False) -> Scalar | None:
        """A single value; a list or a map is a problem, and so is ``null`` where Cortex does not allow it."""
        if not isinstance(entry.value, Scalar):
            message = f"invalid type (expected a single value, got {kind_of(entry.value)})"
            self.problem(message, entry.value.line, f"Write {entry.key}: and the value on the same line.", key=entry.key)
            return None
        if entry.value.value is None:
            if not null:
                self.problem(CANNOT_BE_NULL, entry.value.line, f"Write a value, or remove {entry.key}.", key=entry.key)
            return None
        return entry.value

    def written(self, key: str) -> str:
        """A single value as it is written; empty when it is absent."""
        entry = self.node.get(key)
        return entry.value.text if entry and isinstance(entry.value, Scalar) else ""

    def flag(self, key: str) -> bool:
        """True or false; false when it is absent or wrong."""
        entry = self.node.get(key)
        value = self._scalar(entry) if entry else None
        if value is not None and not isinstance(value.value, bool):
            self.problem(f'"{shortened(value.text)}": invalid type (expected bool)', value.line, f"Write {key}: true.", key=key)
        return value is not None and value.value is True

    def line(self, key: str) -> int:
        """The line of a key, or of the map when it is absent."""
        entry = self.node.get(key)
        return entry.line if entry else self.node.line


def _finite(number: float) -> float:
    """A number as a float that an ``int`` can be made of: whole numbers can be larger than any float, and floats infinite."""
    return float(max(-_HUGE, min(number, _HUGE)))


def _null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None


def _either(choices: Collection[str]) -> str:
    quoted = [f'"{choice}"' for choice in choices]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def read_compute(fields: Fields) -> Compute:
    """``compute``: what one replica asks for."""
    fields.known(keys("compute"))
    entry = fields.node.get("cpu")
    cpu = fields.quantity("cpu", None if entry and _null(entry.value) else Compute().cpu, least="20m")
    memory = fields.quantity("mem", None, least="20Mi")
    gpus = fields.integer("gpu", 0, least=0)
    if fields.integer("inf", 0, least=0, most=1) and gpus:
        fields.problem("gpu and inf resources cannot be used together", fields.line("inf"), "Remove one of them.")
    written = tuple(key for key in ("cpu", "mem", "gpu") if fields.node.get(key))
    return Compute(cpu=cpu, memory=None if memory is None else int(memory), gpu=gpus, written=written)


def read_autoscaling(fields: Fields, concurrency: int) -> Autoscaling:
    """``autoscaling``: checked, as Cortex would; it takes effect in a cluster only.

    Args:
        fields: The section.
        concurrency: Processes times threads of the API, the default target.
    """
    fields.known(keys("autoscaling"))
    least, most = fields.integer("min_replicas", 1, least=1), fields.integer("max_replicas", 100, least=1)
    initial = fields.integer("init_replicas", least, least=1)
    if least > most:
        fields.problem(f"min_replicas cannot be greater than max_replicas ({least} > {most})", fields.line("min_replicas"), "Swap the two.")
    elif initial > most:
        fields.problem(f"init_replicas cannot be greater than max_replicas ({initial} > {most})", fields.line("init_replicas"), "Lower it.")
    elif initial < least:
        fields.problem(f"init_replicas cannot be less than min_replicas ({initial} < {least})", fields.line("init_replicas"), "Raise it.")
    highest = fields.integer("max_replica_concurrency", 1024, least=1, most=30000)
    target = fields.number("target_replica_concurrency", float(concurrency), above=0)
    if target > highest:
        message = f"target_replica_concurrency cannot be greater than max_replica_concurrency ({target:g} > {highest})"
        fields.problem(message, fields.line("target_replica_concurrency"), "Lower it.")
    window = fields.duration("window", 60.0, least="10s")
    if window % 10:
        fields.problem(f"must be a multiple of 10s (got {window:g}s)", fields.line("window"), "Write window: 60s.", key="window")
    return Autoscaling(
        min_replicas=least,
        max_replicas=most,
        initial_replicas=initial if fields.node.get("init_replicas") else None,
        max_concurrency=highest,
        target_concurrency=target if fields.node.get("target_replica_concurrency") else None,
        window=window,
        downscale_stabilization=fields.duration("downscale_stabilization_period", 300.0),
        upscale_stabilization=fields.duration("upscale_stabilization_period", 60.0),
        max_downscale_factor=fields.number("max_downscale_factor", 0.75, least=0, below=1),
        max_upscale_factor=fields.number("max_upscale_factor", 1.5, above=1),
        downscale_tolerance=fields.number("downscale_tolerance", 0.05, least=0, below=1),
        upscale_tolerance=fields.number("upscale_tolerance", 0.05, least=0),
    )


def read_update_strategy(fields: Fields) -> UpdateStrategy:
    """``update_strategy``: whole numbers or percentages, not both zero."""
    fields.known(keys("update_strategy"))
    written = {key: _surge(fields, key) for key in ("max_surge", "max_unavailable")}
    if all(text is not None and text.strip("0") in ("", "%") for text in written.values()):
        fields.problem("max_surge and max_unavailable cannot both be zero", fields.line("max_surge"), 'Write max_surge: "25%".')
    return UpdateStrategy(**{key: text if text.endswith("%") else int(text) for key, text in written.items() if text is not None})


def _surge(fields: Fields, key: str) -> str | None:
    entry = fields.node.get(key)
    if entry is None or not isinstance(entry.value, Scalar):
        return None
    found = re.fullmatch(r"([0-9]{1,9})(%?)", entry.value.text)
    if found and (not found[2] or int(found[1]) <= 100):
        return found[0]
    message = f'invalid value (got "{shortened(entry.value.text)}", must be a whole number or a percentage from 0% to 100%)'
    fields.problem(message, entry.value.line, f'Write {key}: "25%".', key=key)
    return None
