"""A small Kubernetes API server over HTTP: objects with versions, server-side apply with owners of fields, a Deployment controller.

It implements the part of the protocol that deployments use, after https://kubernetes.io/docs/reference/using-api/: optimistic creation,
apply patches with conflicts and taking over, Jobs that cannot be changed, merge patches, the scale subresource, label selectors, dry runs, deletion with dependents,
logs, 401, 403, 404, 409. Lists are owned as a whole, where the real one merges some of them by key. What pods do is told by their
image, by their workload's name, or by their own.
"""

from __future__ import annotations

import copy
import http.server
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "token-of-the-test"
_KINDS = {
    "configmaps": "ConfigMap",
    "secrets": "Secret",
    "services": "Service",
    "pods": "Pod",
    "deployments": "Deployment",
    "controllerrevisions": "ControllerRevision",
    "poddisruptionbudgets": "PodDisruptionBudget",
    "horizontalpodautoscalers": "HorizontalPodAutoscaler",
    "ingresses": "Ingress",
    "jobs": "Job",
    "cronjobs": "CronJob",
    "inferenceservices": "InferenceService",
}


_KNATIVE = {"enableServiceLinks", "serviceAccountName", "imagePullSecrets", "nodeSelector", "volumes", "containers"}
"""What Knative takes of a pod: https://github.com/knative/serving/blob/main/pkg/apis/serving/fieldmask.go."""
_KSERVE = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "containerConcurrency"}


@dataclass
class Behaviour:
    """What pods of an image do: ready after some seconds, or never (``waiting``: why the container waits), with a log."""

    ready_after: float | None = 0.05
    waiting: str = ""
    restarts: int = 0
    log: str = ""


@dataclass
class Request:
    """A request that was answered."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    status: int


@dataclass
class ApiServer:
    """The server. ``unknown`` are kinds that it does not have, ``full`` are resources that are refused when it counts, ``denied`` (method, resource) that are forbidden, as ``pods/log``; the next ``cut`` requests end without an answer, the next ``lost`` that create something after they were done. When a resource of ``interrupting`` is changed, this process gets a SIGINT, once."""

    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    denied: set[tuple[str, str]] = field(default_factory=set)
    full: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    cut: int = 0
    lost: int = 0
    interrupting: set[str] = field(default_factory=set)
    refuse: list[int] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    objects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    owners: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    seen: dict[tuple[tuple[str, str, str], int], float] = field(default_factory=dict)
    version: int = 0
    address: str = ""

    def kind(self, kind: str, namespace: str = "models") -> dict[str, dict[str, Any]]:
        """The objects of a kind by name."""
        plural = next(one for one, own in _KINDS.items() if own == kind)
        with self.lock:
            return {name: copy.deepcopy(one) for (space, own, name), one in self.objects.items() if (space, own) == (namespace, plural)}

    # Requests

    def handle(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> tuple[int, Any]:
        """The answer to a request."""
        parts = urlsplit(url)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        body = yaml.safe_load(content) if content else None
        with self.lock:
            if headers.get("authorization") != f"Bearer {TOKEN}":
                status, answer = _failure(401, "Unauthorized", "Unauthorized")
            elif self.refuse:
                status, answer = _failure(self.refuse.pop(0), "ServiceUnavailable", "try again")
            else:
                status, answer = self._answered(method, unquote(parts.path), query, headers, body)
            plural = parts.path.partition("/namespaces/")[2].split("/")[1]
            if plural in self.interrupting and method != "GET" and "dryRun" not in query:
                self.interrupting.remove(plural)
                os.kill(os.getpid(), signal.SIGINT)
            self.requests.append(Request(method, parts.path, query, body, status))
        return status, answer

    def _answered(self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: Any) -> tuple[int, Any]:
        _, _, rest = path.partition("/namespaces/")
        namespace, plural, *more = rest.split("/")
        if plural not in _KINDS or plural in self.unknown:
            return 404, "404 page not found"
        name, *sub = more or [""]
        resource = "/".join([plural, *sub])
        if (method, resource) in self.denied or (resource in self.full and method != "GET" and "dryRun" not in query):
            verb = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}[method]
            return _failure(
                403, "Forbidden", f'{plural} is forbidden: User "ci" cannot {verb} resource "{plural}" in namespace "{namespace}"'
            )
        if namespace != "models":
            return _failure(404, "NotFound", f'namespaces "{namespace}" not found')
        key = (namespace, plural, name)
        if method == "GET":
            return self._log(key) if sub else self._get(key) if name else self._list(namespace, plural, query)
        if method == "POST":
            return self._create((namespace, plural, body["metadata"]["name"]), body, query)
        if method == "DELETE":
            return self._delete(key)
        if headers.get("content-type") == "application/apply-patch+yaml":
            return self._apply(key, body, query)
        return self._merge(key, body, query, sub)

    def _get(self, key: tuple[str, str, str]) -> tuple[int, Any]:
        found = self.objects.get(key)
        return (200, found) if found is not None else _failure(404, "NotFound", f'{key[1]} "{key[2]}" not found')

    def _list(self, namespace: str, plural: str, query: Mapping[str, str]) -> tuple[int, Any]:
        wanted = dict(one.split("=") for one in query.get("labelSelector", "").split(",") if one)
        items = [
            {name: value for name, value in one.items() if name not in ("apiVersion", "kind")}  # a list tells them once
            for (space, own, _), one in self.objects.items()
            if (space, own) == (namespace, plural) and wanted.items() <= (one["metadata"].get("labels") or {}).items()
        ]
        return 200, {"kind": f"{_KINDS[plural]}List", "items": items}

    def _create(self, key: tuple[str, str, str], body: dict[str, Any], query: Mapping[str, str]) -> tuple[int, Any]:
        if key in self.objects:
            return _failure(409, "AlreadyExists", f'{key[1]} "{key[2]}" already exists')
        if "dryRun" not in query:
            self._store(key, body)
            self.owners[key] = {query.get("fieldManager", "unknown"): dict(_leaves(body))}
        return 201, self.objects.get(key, body)

    def _apply(self, key: tuple[str, str, str], body: dict[str, Any], query: Mapping[str, str]) -> tuple[int, Any]:
        manager = query["fieldManager"]
        before = self.objects.get(key)
        wanted = dict(_leaves(body))
        others = {name: leaves for name, leaves in self.owners.get(key, {}).items() if name != manager}
        clashes = [
            (other, path)
            for other, leaves in others.items()
            for path, value in leaves.items()
            if path in wanted and wanted[path] != value and path not in ("apiVersion", "kind", "metadata\0name")
        ]
        if clashes and query.get("force") != "true":
            causes = [{"reason": "FieldManagerConflict", "message": f'conflict with "{who}"', "field": path} for who, path in clashes]
            status, answer = _failure(
                409, "Conflict", f"Apply failed with {len(clashes)} conflict: {causes[0]['message']}: {clashes[0][1]}"
            )
            answer["details"] = {"causes": causes}
            return status, answer
        made = copy.deepcopy(before) if before else {}
        for path in set(self.owners.get(key, {}).get(manager, {})) - set(wanted):
            if not any(path in leaves for leaves in others.values()):
                _remove(made, path)
        for path, value in wanted.items():
            _put(made, path, value)
        if key[1] == "jobs" and before and before["spec"]["template"] != made["spec"]["template"]:
            return _failure(422, "Invalid", f'Job.batch "{key[2]}" is invalid: spec.template: Invalid value: field is immutable')
        if "dryRun" not in query:
            self._store(key, made)
            for leaves in others.values():
                for path, value in wanted.items():
                    if leaves.get(path, value) != value:
                        del leaves[path]
            self.owners[key] = {**others, manager: wanted}
            made = self.objects[key]
        return (200 if before else 201), made

    def _merge(self, key: tuple[str, str, str], body: dict[str, Any], query: Mapping[str, str], sub: list[str]) -> tuple[int, Any]:
        found = self.objects.get(key)
        if found is None:
            return _failure(404, "NotFound", f'{key[1]} "{key[2]}" not found')
        made = copy.deepcopy(found)
        for path, value in _leaves(body):
            _put(made, path, value)
        self._store(key, made)
        # An update by other means than applying is another owner, even under the same name.
        name = query.get("fieldManager", "unknown")
        self.owners.setdefault(key, {}).setdefault(f'{name}" with subresource "scale' if sub else name, {}).update(_leaves(body))
        return 200, self.objects[key]

    def _delete(self, key: tuple[str, str, str]) -> tuple[int, Any]:
        if key not in self.objects:
            return _failure(404, "NotFound", f'{key[1]} "{key[2]}" not found')
        gone = self.objects.pop(key)
        self.owners.pop(key, None)
        name = gone["metadata"]["name"] if key[1] == "deployments" else None
        for other in [one for one, obj in self.objects.items() if name and obj["metadata"].get("owner") == name]:
            del self.objects[other]
        return 200, {"kind": "Status", "status": "Success"}

    def _log(self, key: tuple[str, str, str]) -> tuple[int, Any]:
        pod = self.objects.get(key)
        if pod is None:
            return _failure(404, "NotFound", f'pods "{key[2]}" not found')
        does = self._behaviour(pod)
        if does.waiting in ("ContainerCreating", "ErrImagePull", "ImagePullBackOff", "InvalidImageName"):
            return _failure(400, "BadRequest", f'container "model" in pod "{key[2]}" is waiting to start: {does.waiting}')
        return 200, does.log

    def _store(self, key: tuple[str, str, str], obj: Mapping[str, Any]) -> None:
        self.version += 1
        before = self.objects.get(key, {})
        stored = copy.deepcopy(dict(obj))
        metadata = stored["metadata"]
        metadata["resourceVersion"] = str(self.version)
        metadata.setdefault("creationTimestamp", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        if stored.get("spec") != before.get("spec"):
            metadata["generation"] = int(metadata.get("generation", 0)) + 1
        self.objects[key] = stored

    # What controllers and kubelets do

    def step(self) -> None:
        """Bring every Deployment one step towards what it asks for."""
        with self.lock:
            for key, deployment in [(key, one) for key, one in self.objects.items() if key[1] == "deployments"]:
                self._step_deployment(key, deployment)
            for key, service in [(key, one) for key, one in self.objects.items() if key[1] == "inferenceservices"]:
                self._step_inference_service(key, service)

    def _step_inference_service(self, key: tuple[str, str, str], service: dict[str, Any]) -> None:
        """KServe's controller, as far as an InferenceService tells of it; it hands the pod on to Knative."""
        predictor, generation = service["spec"]["predictor"], service["metadata"]["generation"]
        (container,) = predictor["containers"]
        refused = (set(predictor) - _KNATIVE - _KSERVE) | ({"lifecycle", "startupProbe"} & set(container))
        born = self.seen.setdefault((key, generation), time.monotonic())
        does = next((self.behaviours[one] for one in (key[2], container["image"]) if one in self.behaviours), Behaviour())
        ready: dict[str, Any] = {"type": "Ready", "status": "Unknown"}
        if refused:
            ready |= {"status": "False", "message": f"must not set the field(s): {', '.join(sorted(refused))}"}
        elif does.ready_after is not None and time.monotonic() - born >= does.ready_after:
            ready["status"] = "True"
        service["status"] = {"observedGeneration": generation, "conditions": [ready], "url": f"http://{key[2]}.models.example.com"}

    def _step_deployment(self, key: tuple[str, str, str], deployment: dict[str, Any]) -> None:
        name, spec = key[2], deployment["spec"]
        template = json.dumps(spec["template"], sort_keys=True)
        wanted = int(spec.setdefault("replicas", 1))
        pods = [one for (_, own, _), one in self.objects.items() if own == "pods" and one["metadata"].get("owner") == name]
        new = [one for one in pods if one["metadata"]["template"] == template]
        for pod in pods:
            self._step_pod(pod)
        old = [one for one in pods if one not in new]
        ready = [one for one in new if _ready(one)]
        if len(new) < wanted:
            self._make_pod(key[0], name, spec["template"], template)
        elif len(new) > wanted:
            self._delete((key[0], "pods", new[-1]["metadata"]["name"]))
        # maxUnavailable rounds down to none for small numbers: an old pod goes when a new one is ready.
        if old and len(ready) + len(old) > wanted:
            self._delete((key[0], "pods", old[0]["metadata"]["name"]))
        pods = [one for (_, own, _), one in self.objects.items() if own == "pods" and one["metadata"].get("owner") == name]
        new = [one for one in pods if one["metadata"]["template"] == template]
        available = sum(map(_ready, pods))
        done = len(new) == wanted == len(pods) and available == wanted
        deployment["status"] = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": len(pods),
            "updatedReplicas": len(new),
            "readyReplicas": available,
            "availableReplicas": available,
            "conditions": [
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable" if done else "ReplicaSetUpdated"},
                {"type": "Available", "status": "True" if available >= wanted else "False"},
            ],
        }

    def _make_pod(self, namespace: str, owner: str, template: Mapping[str, Any], text: str) -> None:
        self.version += 1
        name = f"{owner}-{self.version:x}"
        made = {
            "metadata": {
                "name": name,
                "labels": template["metadata"]["labels"],
                "annotations": template["metadata"].get("annotations", {}),
                "owner": owner,
                "template": text,
                "born": time.monotonic(),
                "creationTimestamp": f"{self.version:08d}",
            },
            "spec": template["spec"],
        }
        self.objects[namespace, "pods", name] = made
        self._step_pod(made)

    def _step_pod(self, pod: dict[str, Any]) -> None:
        does = self._behaviour(pod)
        ready = does.ready_after is not None and not does.waiting and time.monotonic() - pod["metadata"]["born"] >= does.ready_after
        state = {"waiting": {"reason": does.waiting, "message": f"{does.waiting} of the test"}} if does.waiting else {"running": {}}
        status = {"name": pod["spec"]["containers"][0]["name"], "ready": ready, "state": state, "restartCount": does.restarts}
        pod["status"] = {"phase": "Running", "containerStatuses": [status]}

    def _behaviour(self, pod: Mapping[str, Any]) -> Behaviour:
        image, workload = pod["spec"]["containers"][0]["image"], pod["metadata"]["labels"].get("lading.run/workload")
        names = (pod["metadata"]["name"], workload, image)
        return next((self.behaviours[name] for name in names if name in self.behaviours), Behaviour())

    # Serving

    @contextmanager
    def running(self) -> Iterator[ApiServer]:
        """The server on a free port of this machine, with its controllers, until the block ends."""
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        self.address = f"http://127.0.0.1:{server.server_address[1]}"
        stop = threading.Event()

        def control() -> None:
            while not stop.wait(0.01):
                self.step()

        threads = [threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}), threading.Thread(target=control)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            stop.set()
            server.shutdown()
            server.server_close()
            for thread in threads:
                thread.join()

    def kubeconfig(self, path: Path, *, context: str = "test", token: str = TOKEN) -> Path:
        """A configuration file for this server."""
        record = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [{"name": "test", "cluster": {"server": self.address}}],
            "users": [{"name": "ci", "user": {"token": token}}],
            "contexts": [{"name": context, "context": {"cluster": "test", "user": "ci", "namespace": "models"}}],
        }
        path.write_text(yaml.safe_dump(record))
        return path


def _handler(api: ApiServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def _serve(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with api.lock:
                if api.cut > 0:
                    api.cut -= 1
                    self.close_connection = True
                    self.connection.close()
                    return
            status, answer = api.handle(self.command, self.path, {name.lower(): text for name, text in self.headers.items()}, content)
            if self.command == "POST" and api.lost > 0:
                api.lost -= 1
                self.close_connection = True
                self.connection.close()
                return
            text = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 -- http.server's names

        def log_message(self, *_arguments: Any) -> None:
            """Quiet."""

    return Handler


def _failure(status: int, reason: str, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": status}


def _ready(pod: Mapping[str, Any]) -> bool:
    return bool(pod["status"]["containerStatuses"][0]["ready"])


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, one in value.items():
            yield from _leaves(one, f"{path}\0{key}" if path else key)
    else:
        yield path, value


def _put(obj: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split("\0")
    for key in above:
        obj = obj.setdefault(key, {})
    obj[last] = value


def _remove(obj: dict[str, Any], path: str) -> None:
    *above, last = path.split("\0")
    for key in above:
        obj = obj.get(key, {})
    obj.pop(last, None)
