"""What this machine adds to the command line, and what it can do; see `lading.deploy.engine.EngineOptions`."""

from __future__ import annotations

from lading.deploy.engine import Capabilities, Feature, Option

OPTIONS = (
    Option(name="--host", metavar="ADDRESS", help="the address to listen on (default: 127.0.0.1)"),
    Option(name="--port", metavar="PORT", help="the port (default: 5000)"),
)
CAPABILITIES = Capabilities(
    image=False,
    features=frozenset((Feature.SCALE, Feature.GPU, Feature.ROLLBACK, Feature.SPLIT, Feature.JOBS, Feature.LOGS, Feature.GRPC)),
    remarks={
        Feature.ROLLING: "The old server ends before the new one begins, so requests are refused while the model loads.",
        Feature.AUTOSCALE: "There is one machine; the number of processes is fixed.",
    },
)
