"""What Kubernetes adds to the command line, and what it can do; see `lading.deploy.engine.EngineOptions`."""

from __future__ import annotations

from lading.deploy.engine import Capabilities, Feature, Option

OPTIONS = (
    Option(name="--namespace", metavar="NAME", help="the namespace (default: the context's)", of_place=True),
    Option(
        name="--kubeconfig",
        metavar="FILE",
        help="the cluster's configuration (default: KUBECONFIG, else ~/.kube/config)",
        of_place=True,
        path=True,
    ),
    Option(name="--replicas", metavar="N", help="so many replicas, whatever the project says of autoscaling"),
    Option(name="--image-pull-secret", metavar="NAME", help="a Secret with the registry's login; may be repeated", repeated=True),
    Option(name="--image-pull-policy", choices=("Always", "IfNotPresent", "Never"), help="Never: the nodes have the image already"),
    Option(name="--service-type", choices=("ClusterIP", "NodePort", "LoadBalancer"), help="how the Services are reached"),
    Option(name="--ingress-host", metavar="HOST", help="one address for all APIs, by an Ingress"),
    Option(name="--ingress-class", metavar="NAME", help="the Ingress's controller (default: the cluster's)"),
    Option(name="--tls-secret", metavar="NAME", help="a Secret with the certificate of the Ingress"),
    Option(name="--service-account", metavar="NAME", help="the pods' service account"),
    Option(name="--node-selector", metavar="LABEL=VALUE", help="run on nodes with this label; may be repeated", repeated=True),
    Option(name="--cpu-target", metavar="PERCENT", help="autoscale to this use of the CPU that is asked for (default: 80)"),
    Option(name="--keda", metavar="PROMETHEUS", help="autoscale by requests in flight, with KEDA and the Prometheus at this address"),
    Option(name="--kserve", help="an InferenceService of KServe for each realtime API", flag=True),
    Option(name="--writable-root", help="let the model write anywhere in its container, not only to /tmp", flag=True),
    Option(name="--jobs-claim", metavar="NAME", help="a PersistentVolumeClaim that keeps jobs (default: they end with the pod)"),
    Option(name="--job", metavar="API[=FILE]", help="run a job, with this submission (JSON); may be repeated", repeated=True),
    Option(
        name="--schedule", metavar="API=CRON[=FILE]", help='run jobs by a schedule: "nightly=0 3 * * *"; may be repeated', repeated=True
    ),
    Option(name="--force-conflicts", help="take over fields that others manage", flag=True),
    Option(name="--kustomize", help="with --output: a Kustomize base", flag=True),
)
CAPABILITIES = Capabilities(
    image=True,
    features=frozenset(Feature),
    remarks={
        Feature.SPLIT: "The APIs of one TrafficSplitter run together in each pod, so they scale together.",
        Feature.AUTOSCALE: "By the use of CPU; by requests in flight with --keda or --kserve.",
    },
)
