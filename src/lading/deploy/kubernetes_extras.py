"""Objects that a plain cluster does not know or need: an Ingress for the outside, KEDA's ScaledObject, KServe's InferenceService. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from lading.deploy.kubernetes_pods import TEMPLATE, about, pod_spec, template_hash
from lading.deploy.kubernetes_shape import PORT, Asked, Object, Workload, behavior, metadata
from lading.model.cluster import Autoscaling
from lading.model.project import Style

_POLL_SECONDS = 10
_START_SECONDS = 30
"""How long a server may take to start, where there can be no probe for that."""
_ALLOWED = ("enableServiceLinks", "serviceAccountName", "imagePullSecrets", "nodeSelector", "volumes")
"""Of a pod, for Knative; a node selector where its feature is switched on. Tolerations want one too, and are not asked for by the user."""


def ingress(asked: Asked, workloads: Sequence[Workload]) -> Object:
    """One address for all APIs: each endpoint's path leads to its Service, and of a Cog project everything does."""
    settings, paths = asked.settings, []
    for workload in workloads:
        backend = {"service": {"name": workload.name, "port": {"name": "http"}}}
        cortex = all(api.worker.style == Style.CORTEX for api in workload.apis)
        places = [path for _, path in workload.endpoints] if cortex else ["/"]
        paths += [{"path": path, "pathType": "Prefix", "backend": backend} for path in places]
    spec: Object = {}
    if settings.ingress_class:
        spec["ingressClassName"] = settings.ingress_class
    if settings.tls_secret:
        spec["tls"] = [{"hosts": [settings.host], "secretName": settings.tls_secret}]
    spec["rules"] = [{"host": settings.host, "http": {"paths": paths}}]
    own = metadata(asked, asked.deployment.name)
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": own, "spec": spec}


def target_of(workload: Workload, scaling: Autoscaling) -> float:
    """How many requests each replica should have in flight: Cortex's ``target_replica_concurrency``."""
    return scaling.target_concurrency if scaling.target_concurrency is not None else float(workload.concurrency)


def scaled_object(asked: Asked, workload: Workload, scaling: Autoscaling) -> Object:
    """KEDA's autoscaler (keda.sh/v1alpha1) by requests in flight, as Cortex scales: those that run and those that wait, from Prometheus."""
    names = "|".join(api.name for api in workload.apis)
    chosen = f'{{api=~"{names}",app_kubernetes_io_instance="{workload.name}"}}'
    window = f"{int(scaling.window)}s"
    query = f"sum(avg_over_time(lading_predictions_running{chosen}[{window}])) + sum(avg_over_time(lading_queue_length{chosen}[{window}]))"
    trigger = {
        "type": "prometheus",
        "metadata": {"serverAddress": asked.settings.keda, "query": query, "threshold": f"{target_of(workload, scaling):g}"},
    }
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata(asked, workload.name, workload),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload.name},
            "pollingInterval": _POLL_SECONDS,
            "minReplicaCount": scaling.min_replicas,
            "maxReplicaCount": scaling.max_replicas,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior(scaling)}},
            "triggers": [trigger],
        },
    }


def inference_service(asked: Asked, workload: Workload) -> Object:
    """KServe's InferenceService (serving.kserve.io/v1beta1) with our container, which speaks the v2 protocol on its port.

    KServe makes the Deployment, the Service, the autoscaler and the address. The scale is by requests in flight, as Cortex's is. Behind it is
    Knative, which refuses what `_ALLOWED` leaves out (knative/serving, pkg/apis/serving/fieldmask.go), and ends pods in order itself.
    """
    scaling = workload.autoscaling or Autoscaling(max_replicas=1)
    whole = pod_spec(asked, workload)
    spec = {key: value for key, value in whole.items() if key in _ALLOWED}
    (made,) = whole["containers"]
    # KServe finds its container by this name, and sets PORT itself.
    container = {
        **{key: value for key, value in made.items() if key not in ("lifecycle", "startupProbe")},
        "name": "kserve-container",
        "env": [one for one in made["env"] if one["name"] != "PORT"],
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "securityContext": {**whole["securityContext"], **made["securityContext"]},
    }
    for probe in ("readinessProbe", "livenessProbe"):
        container[probe] = {**made[probe], "httpGet": {**made[probe]["httpGet"], "port": PORT}}
    container["livenessProbe"]["initialDelaySeconds"] = _START_SECONDS
    fixed = asked.settings.replicas
    predictor: Object = {
        "minReplicas": fixed if fixed is not None else scaling.min_replicas,
        "maxReplicas": fixed if fixed is not None else scaling.max_replicas,
        "containerConcurrency": scaling.max_concurrency,
        **spec,
        "containers": [container],
    }
    if fixed is None and workload.autoscaling is not None:
        predictor = {"scaleMetric": "concurrency", "scaleTarget": max(1, round(target_of(workload, scaling))), **predictor}
    own = metadata(asked, workload.name, workload, {**about(asked, workload), TEMPLATE: template_hash(predictor)})
    return {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": own, "spec": {"predictor": predictor}}
