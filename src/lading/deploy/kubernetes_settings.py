"""The options of a deployment on Kubernetes: what of them makes sense."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lading.deploy.engine import Deployment
from lading.deploy.kubernetes_shape import JOB_KINDS, Settings
from lading.model.cluster import Autoscaling
from lading.model.origin import Origin
from lading.model.problems import Problem, ProblemCollector

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"([a-z0-9.-]+/)?[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?=([A-Za-z0-9]([\w.-]*[A-Za-z0-9])?)?", re.ASCII)
_CRON = re.compile(r"(@(hourly|daily|midnight|weekly|monthly|yearly|annually))|([0-9A-Za-z*/,?#-]+ +){4}[0-9A-Za-z*/,?#-]+")


def settings_of(deployment: Deployment, place_options: Mapping[str, Any], read: Callable[[str], str]) -> Settings:
    """The options, checked. ``read`` gives the content of a submission's file.

    Raises:
        LadingError: with every option that makes no sense.
    """
    given, problems = deployment.options, ProblemCollector()
    checks = _Checks(problems)
    host, tls = given.get("ingress_host"), given.get("tls_secret")
    if (tls or given.get("ingress_class")) and not host:
        checks.add("--tls-secret" if tls else "--ingress-class", "Only an Ingress has that.", "Add --ingress-host HOST.")
    if given.get("keda") and given.get("kserve"):
        checks.add("--keda", "KServe brings its own autoscaler.", "Choose --keda or --kserve.")
    if given.get("kserve") and deployment.service.splitters:
        checks.add("--kserve", "A TrafficSplitter's APIs share a server, which KServe would not route to.", "Leave --kserve out.")
    keda = given.get("keda")
    if keda and not str(keda).startswith(("http://", "https://")):
        checks.add("--keda", f'"{keda}" is no address.', "Write --keda http://prometheus.monitoring:9090.")
    scaled = [one.name for one in deployment.service.apis if one.cluster.compute.cpu is None and _scales(one.cluster.autoscaling)]
    if scaled and not (keda or given.get("kserve") or given.get("replicas")):
        what = f"{', '.join(scaled)} is to be scaled by its use of CPU, and asks for none (compute.cpu is null)."
        checks.add("compute.cpu", what, "Write compute: cpu: 500m, or scale by requests with --keda, or not at all with --replicas.")
    settings = Settings(
        namespace=checks.name("--namespace", place_options.get("namespace")),
        pull_secrets=tuple(str(checks.name("--image-pull-secret", name)) for name in given.get("image_pull_secret") or ()),
        pull_policy=given.get("image_pull_policy"),
        service_type=given.get("service_type") or "ClusterIP",
        host=checks.name("--ingress-host", host),
        ingress_class=checks.name("--ingress-class", given.get("ingress_class")),
        tls_secret=checks.name("--tls-secret", tls),
        service_account=checks.name("--service-account", given.get("service_account")),
        node_selector=dict(checks.label(text) for text in given.get("node_selector") or ()),
        cpu_target=checks.whole("--cpu-target", given.get("cpu_target"), 1, 1000) or 80,
        keda=keda,
        kserve=bool(given.get("kserve")),
        replicas=checks.whole("--replicas", given.get("replicas"), 0, 100_000),
        writable_root=bool(given.get("writable_root")),
        jobs_claim=checks.name("--jobs-claim", given.get("jobs_claim")),
        jobs=tuple(checks.job(deployment, text, read) for text in given.get("job") or ()),
        schedules=tuple(checks.schedule(deployment, text, read) for text in given.get("schedule") or ()),
    )
    problems.raise_if_any()
    return settings


def _scales(scaling: Autoscaling | None) -> bool:
    return scaling is not None and scaling.max_replicas > scaling.min_replicas


class _Checks:
    """Checks of single options; what is wrong is kept."""

    def __init__(self, problems: ProblemCollector) -> None:
        self._problems = problems

    def add(self, option: str, what: str, instead: str) -> None:
        """Keep a problem of an option."""
        self._problems.add(Problem(rule="usage", what=what, origin=Origin(option), instead=instead))

    def name(self, option: str, text: Any) -> str | None:
        """A name of Kubernetes's, which is also a host's."""
        if text is not None and not _NAME.fullmatch(str(text)):
            self.add(option, f'"{text}" is no name on Kubernetes.', "Write lower case letters, digits, dashes and dots.")
        return None if text is None else str(text)

    def whole(self, option: str, text: Any, least: int, most: int) -> int | None:
        """A whole number within bounds."""
        if text is None:
            return None
        if not (str(text).isascii() and str(text).isdigit() and least <= int(text) <= most):
            self.add(option, f'"{text}" is no whole number from {least} to {most}.', f"Write {option} {max(least, 2)}.")
            return None
        return int(text)

    def label(self, text: str) -> tuple[str, str]:
        """A label and its value."""
        if not _LABEL.fullmatch(text):
            self.add("--node-selector", f'"{text}" is no label with a value.', "Write --node-selector disk=ssd.")
        name, _, value = text.partition("=")
        return name, value

    def job(self, deployment: Deployment, text: str, read: Callable[[str], str]) -> tuple[str, str]:
        """An API with the submission of its job."""
        api, _, file = text.partition("=")
        self._job_api(deployment, "--job", api)
        return api, self._submission("--job", file, read)

    def schedule(self, deployment: Deployment, text: str, read: Callable[[str], str]) -> tuple[str, str, str]:
        """An API, when its jobs run, and their submission."""
        api, _, rest = text.partition("=")
        cron, _, file = rest.partition("=")
        self._job_api(deployment, "--schedule", api)
        if not _CRON.fullmatch(cron.strip()):
            self.add("--schedule", f'"{cron}" is no schedule.', "Write cron's five fields: --schedule 'nightly=0 3 * * *'.")
        return api, cron.strip(), self._submission("--schedule", file, read)

    def _job_api(self, deployment: Deployment, option: str, api: str) -> None:
        known: Sequence[str] = [one.name for one in deployment.apis if one.worker.cortex.get("kind") in JOB_KINDS]
        if api not in known:
            self.add(option, f"{api} is no BatchAPI or TaskAPI of {deployment.name}.", f"It has {', '.join(known) or 'none'}.")

    def _submission(self, option: str, file: str, read: Callable[[str], str]) -> str:
        if not file:
            return "{}"
        try:
            text = read(file)
            json.loads(text)
        except (OSError, ValueError) as error:
            self.add(
                option, f"{file} cannot be read as JSON: {getattr(error, 'strerror', None) or error}.", "Name a file with a submission."
            )
            return "{}"
        return text


def read_file(path: str) -> str:
    """A submission's file."""
    return Path(path).expanduser().read_text(encoding="utf-8")
