"""What Cortex passes to a predictor's methods, by the name of its class and the kind of its API (section by section of Cortex 0.32)."""

# Cortex's documentation says `module_proto_pb2`, its code took the other alone.
_COMMON = ("job_spec", "metrics_client", "proto_module_pb2", "module_proto_pb2")
_REQUEST = ("payload", "query_params", "headers")
HANDLES = {method: "handle_" + method.lower() for method in ("POST", "GET", "PUT", "PATCH", "DELETE")}
"""The methods of a `Handler` (Cortex 0.34 and 0.35) by the HTTP method that they answer."""
CLIENTS = {
    "PythonPredictor": "python_client",
    "TensorFlowPredictor": "tensorflow_client",
    "ONNXPredictor": "onnx_client",
    "Handler": "model_client",
}
"""The argument that a class gets its client of models by."""


def init_arguments(name):
    """The names that ``__init__`` must have, and those that it may have."""
    client = CLIENTS.get(name, "python_client")
    if name == "Task":
        return ("self",), ("metrics_client",)
    if name in ("TensorFlowPredictor", "ONNXPredictor"):
        return ("self", client, "config"), _COMMON
    return ("self", "config"), (client, *_COMMON)


def predict_arguments(kind):
    """The names that ``predict`` may have."""
    return ("payload", "request_id") if kind == "AsyncAPI" else (*_REQUEST, "batch_id", "context")


def main_method(name, kind):
    """The method that does the work, and the names that it may have, for all but a Handler's HTTP methods."""
    if name == "Handler":
        return {"BatchAPI": "handle_batch", "AsyncAPI": "handle_async"}[kind], (
            ("payload", "batch_id") if kind == "BatchAPI" else ("payload", "request_id")
        )
    return "predict", predict_arguments(kind)
