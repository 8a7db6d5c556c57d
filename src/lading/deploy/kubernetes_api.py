"""Kubernetes' HTTP API as far as deployments need it: objects by kind and name, applied by the server, every refusal a problem.

The ``kubernetes`` package reads the configuration and brings the connection: certificates, tokens, plug-ins of clouds. Its typed models
are not used: objects stay plain data, so that what is printed is what is sent.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from lading.deploy.engine import Place, missing_package
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.secrets import Secret

FIELD_MANAGER = "lading"
_SECONDS = 30.0
_TRIES = 5
_LATER = frozenset((429, 500, 502, 503, 504))
_PATHS = {
    "ConfigMap": ("api/v1", "configmaps"),
    "Secret": ("api/v1", "secrets"),
    "Service": ("api/v1", "services"),
    "Pod": ("api/v1", "pods"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "ControllerRevision": ("apis/apps/v1", "controllerrevisions"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "Ingress": ("apis/networking.k8s.io/v1", "ingresses"),
    "Job": ("apis/batch/v1", "jobs"),
    "CronJob": ("apis/batch/v1", "cronjobs"),
    "ScaledObject": ("apis/keda.sh/v1alpha1", "scaledobjects"),
    "InferenceService": ("apis/serving.kserve.io/v1beta1", "inferenceservices"),
}
KINDS = tuple(kind for kind in _PATHS if kind != "Pod")
"""The kinds that a deployment may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the API server said. ``message`` is for people, where it refused."""

    status: int
    body: Any

    @property
    def message(self) -> str:
        """The server's words."""
        if isinstance(self.body, Mapping):
            return str(self.body.get("message") or self.body.get("reason") or self.body)
        return str(self.body)[:500]


class Cluster:
    """One namespace of one cluster. ``place`` names both, whatever the configuration calls current later. Every method raises `LadingError` where the cluster refuses or cannot be reached."""

    def __init__(self, place: Place) -> None:
        self._configuration, self._pool, self.place = _connected(place)
        self.namespace = str(self.place.options["namespace"])

    def apply(self, obj: Mapping[str, Any], *, dry_run: bool = False, force: bool = False) -> Answer:
        """Server-side apply, as the field manager ``lading``; the answer, refused or not."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        body = _encoded(revealed(obj))
        kind, name = obj["kind"], obj["metadata"]["name"]
        answer = self.ask("PATCH", self.path(kind, name), query, body, "application/apply-patch+yaml")
        if not force and answer.status == 409 and _only_with_us(answer.body):
            return self.apply(obj, dry_run=dry_run, force=True)
        return answer

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """An object; None where there is none."""
        answer = self.ask("GET", self.path(kind, name))
        return None if answer.status == 404 else dict(self.checked(answer, f"get {kind} {name}"))

    def all(self, kind: str, selector: str) -> list[dict[str, Any]]:
        """The objects of a kind that have labels; none where the cluster does not know the kind."""
        answer = self.ask("GET", self.path(kind), {"labelSelector": selector})
        if answer.status == 404:
            return []
        items: list[dict[str, Any]] = self.checked(answer, f"list {kind}").get("items") or []
        return items

    def create(self, obj: Mapping[str, Any]) -> Answer:
        """A new object; the answer, refused or not."""
        return self.ask("POST", self.path(obj["kind"]), {"fieldManager": FIELD_MANAGER}, _encoded(obj), "application/json")

    def merge(self, kind: str, name: str, change: Mapping[str, Any], subresource: str = "") -> dict[str, Any]:
        """Change some fields of an object (a merge patch)."""
        path = self.path(kind, name) + (f"/{subresource}" if subresource else "")
        body = _encoded(change)
        answer = self.ask("PATCH", path, {"fieldManager": FIELD_MANAGER}, body, "application/merge-patch+json")
        return dict(self.checked(answer, f"change {kind} {name}"))

    def delete(self, kind: str, name: str) -> None:
        """Take an object away, and what it owns; nothing happens where it is gone."""
        answer = self.ask("DELETE", self.path(kind, name), {"propagationPolicy": "Background"})
        if answer.status != 404:
            self.checked(answer, f"delete {kind} {name}")

    def lines(self, pod: str, container: str, *, follow: bool, tail: int | None = None) -> Iterator[str]:
        """The log of a container, line by line.

        Raises:
            LadingError: if it cannot be had.
        """
        query = {"container": container, "follow": "true" if follow else "false", **({"tailLines": str(tail)} if tail else {})}
        response = self._answered("GET", self.path("Pod", pod) + "/log", query, None, None, stream=True)
        if response.status != 200:
            refused = Answer(status=response.status, body=_body(response.read()))
            raise LadingError(self.problem(refused, f"read the log of Pod {pod}"))
        rest = b""
        try:
            for piece in response.stream(1 << 16):
                *whole, rest = (rest + piece).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in whole)
        except (OSError, http.client.HTTPException, _pool_errors()):
            pass  # a pod that ends takes the stream with it
        finally:
            response.release_conn()
        if rest:
            yield rest.decode("utf-8", "replace")

    def path(self, kind: str, name: str = "") -> str:
        """Where objects of a kind are."""
        group, plural = _PATHS[kind]
        return f"/{group}/namespaces/{quote(self.namespace)}/{plural}" + (f"/{quote(name)}" if name else "")

    def ask(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: bytes | None = None, kind: str | None = None
    ) -> Answer:
        """Send a request; again where the connection broke or the server asks to come later. All that is sent may be sent twice."""
        response = self._answered(method, path, query, body, kind)
        return Answer(status=response.status, body=_body(response.data))

    def _answered(
        self, method: str, path: str, query: Mapping[str, str] | None, body: bytes | None, kind: str | None, *, stream: bool = False
    ) -> Any:
        for attempt in range(_TRIES):
            try:
                response = self._send(method, path, query, body, kind, stream=stream)
            except (OSError, http.client.HTTPException, _pool_errors()) as error:
                if attempt == _TRIES - 1:
                    raise LadingError(self._unreachable(error)) from error
            else:
                if response.status not in _LATER or attempt == _TRIES - 1:
                    return response
                response.drain_conn()
            time.sleep(min(5.0, 0.2 * 2**attempt))
        raise AssertionError("the loop returns or raises")

    def _send(self, method: str, path: str, query: Mapping[str, str] | None, body: bytes | None, kind: str | None, *, stream: bool) -> Any:
        headers = {"Accept": "application/json", "User-Agent": "lading"}
        if kind:
            headers["Content-Type"] = kind
        for one in self._configuration.auth_settings().values():
            if one["in"] == "header" and one["value"]:
                headers[one["key"]] = one["value"]
        url = self._configuration.host.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
        timeout = None if stream else _SECONDS
        return self._pool.request(
            method, url, body=body, headers=headers, timeout=timeout, retries=False, preload_content=not stream, redirect=False
        )

    def checked(self, answer: Answer, doing: str) -> Any:
        """The answer's body.

        Raises:
            LadingError: if the cluster refused.
        """
        if answer.status >= 300:
            raise LadingError(self.problem(answer, doing))
        return answer.body

    def problem(self, answer: Answer, doing: str) -> Problem:
        """What to tell of a refusal."""
        where = f"namespace {self.namespace} of {self.place}"
        if answer.status == 401:
            instead = "Log in again (the cluster's own tool or `kubectl auth whoami` tells how), or name another context: --to kubernetes CONTEXT."
            return self._refused("cluster-unauthorized", f"The cluster does not accept your login: {answer.message}.", None, instead)
        if answer.status == 403:
            instead = f"Ask for a role that may {doing} in {where}, or name another one with --namespace."
            return self._refused("cluster-forbidden", f"You may not {doing} in {where}.", answer.message, instead)
        if answer.status == 409:
            instead = "Look at what else manages it, and leave one of them; or take its fields over with --force-conflicts."
            return self._refused("cluster-conflict", f"To {doing} conflicts with what is there.", answer.message, instead)
        return self._refused("cluster-refused", f"The cluster refuses to {doing} ({answer.status}).", answer.message, None)

    @staticmethod
    def _refused(rule: str, what: str, why: str | None, instead: str | None) -> Problem:
        return Problem(rule=rule, what=what.replace("..", "."), why=why, instead=instead, code=ExitCode.DEPLOY)

    def _unreachable(self, error: BaseException) -> Problem:
        reason = getattr(error, "reason", None) or error
        return Problem(
            rule="cluster-unreachable",
            what=f"The cluster of {self.place} at {self._configuration.host} cannot be reached: {reason}.",
            instead="Check the network and the context: `kubectl config get-contexts` lists them.",
            code=ExitCode.NETWORK,
        )


def revealed(value: Any) -> Any:
    """An object as it is sent: the one place where the values of Secrets come out."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping):
        return {key: revealed(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [revealed(one) for one in value]
    return value


def _encoded(value: Any) -> bytes:
    """JSON without spaces: a ControllerRevision's data is kept as it was written, written anew without them, and then has changed."""
    return json.dumps(value, separators=(",", ":")).encode()


def _only_with_us(body: Any) -> bool:
    """Whether a conflict is with what we changed ourselves by other means than applying: the replicas of ``lading scale``."""
    causes = ((body.get("details") or {}).get("causes") or ()) if isinstance(body, Mapping) else ()
    return bool(causes) and all(f'conflict with "{FIELD_MANAGER}"' in str(one.get("message")) for one in causes)


def _body(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace")


def _pool_errors() -> type[Exception]:
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 -- the kubernetes package's own

    return HTTPError


def configuration_of(environ: Mapping[str, str]) -> str | None:
    """The files of the configuration, as ``kubectl`` finds them; None where there are none, as in a pod."""
    named = environ.get("KUBECONFIG") or "~/.kube/config"
    # Path.expanduser fails where there is no home, as in some pods.
    files = [Path(os.path.expanduser(one)).resolve() for one in named.split(os.pathsep) if one]  # noqa: PTH111
    return os.pathsep.join(map(str, files)) if any(one.exists() for one in files) else None


def _connected(place: Place) -> tuple[Any, Any, Place]:
    """The configuration of a context, its connections, and the place with its context and namespace.

    The namespace is the given one, else the context's, else ``default``.
    """
    try:
        from kubernetes import client, config  # noqa: PLC0415 -- an extra, and slow to import
    except ImportError as error:
        raise missing_package("kubernetes", "kubernetes") from error
    settings: Any = client.Configuration()
    loader: Any = config
    file = place.options.get("kubeconfig")
    namespace, address = "default", place.address
    try:
        loader.load_kube_config(config_file=file, context=place.address, client_configuration=settings)
        contexts, active = loader.list_kube_config_contexts(config_file=file)
        own = next((one for one in contexts if one["name"] == place.address), active)
        namespace, address = str((own.get("context") or {}).get("namespace") or namespace), str(own["name"])
    except config.ConfigException as error:
        if place.address is not None or file is not None or not _inside(settings, config):
            raise LadingError(_no_context(place, file, error, _contexts(config, file))) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LadingError(_no_context(place, file, error, [])) from error
    if not settings.verify_ssl:
        # The configuration asks for it (insecure-skip-tls-verify); urllib3 would warn at each request.
        import urllib3  # noqa: PLC0415 -- the kubernetes package's own

        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    pool = client.ApiClient(settings).rest_client.pool_manager
    options = {**place.options, "namespace": str(place.options.get("namespace") or namespace)}
    return settings, pool, replace(place, address=address, options=options)


def _inside(settings: Any, config: Any) -> bool:
    """Whether this runs in a pod, whose service account then is the login."""
    try:
        config.load_incluster_config(client_configuration=settings)
    except config.ConfigException:
        return False
    return True


def _contexts(config: Any, file: str | None) -> list[str]:
    try:
        return [str(one["name"]) for one in config.list_kube_config_contexts(config_file=file)[0]]
    except (config.ConfigException, OSError, ValueError, KeyError, TypeError):
        return []


def _no_context(place: Place, file: str | None, error: Exception, names: Iterable[str]) -> Problem:
    known = ", ".join(names)
    what = f'There is no Kubernetes context "{place.address}".' if place.address else "No Kubernetes cluster is configured here."
    return Problem(
        rule="context-unknown",
        what=what,
        origin=Origin(file or "KUBECONFIG"),
        why=f"The configuration has {known}." if known else " ".join(str(error).split()),
        instead="Name one of them: --to kubernetes CONTEXT; PROJECT stands before --to."
        if known
        else "Set KUBECONFIG or --kubeconfig to the cluster's configuration file.",
        code=ExitCode.DEPLOY,
    )
