"""What Ray adds to the command line, and what it can do; see `lading.deploy.engine.EngineOptions`."""

from __future__ import annotations

from lading.deploy.engine import Capabilities, Feature, Option

OPTIONS = (
    Option(name="--route", metavar="PATH", help="the path that the APIs lie below (default: the deployment's name; / for none)"),
    Option(name="--http-port", metavar="PORT", help="the port of Serve on every node, when it is not running yet (default: 8000)"),
)
CAPABILITIES = Capabilities(
    image=False,
    features=frozenset(
        (Feature.SCALE, Feature.AUTOSCALE, Feature.GPU, Feature.ROLLING, Feature.ROLLBACK, Feature.SPLIT, Feature.JOBS, Feature.LOGS),
    ),
    remarks={
        Feature.SPLIT: "A splitter is an application of its own: requests take one hop more, and each API scales by itself.",
        Feature.GRPC: "Replicas are asked by way of Serve's HTTP proxy.",
        Feature.JOBS: "Jobs need a database that every node reaches: --secret-env LADING_JOBS=postgresql://...",
        Feature.AUTOSCALE: "Serve has no tolerances, and no factors that bound one change: those of cortex.yaml are left out.",
    },
)
