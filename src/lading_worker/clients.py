"""Cortex's clients of models: ``python_client``, ``onnx_client``, ``tensorflow_client`` (with the methods of 0.32).

They run in the predictor's own process. What they need (numpy, onnxruntime, tensorflow) is imported when a client is made.
"""

import json
import os
import urllib.error
import urllib.parse
import urllib.request

from lading_worker.gather import Gather
from lading_worker.models import DEFAULT, LATEST, ModelError, Models

SERVING = "LADING_TENSORFLOW_SERVING"
"""Names the address of a TensorFlow Serving (its REST port), which then runs the models."""


def make(load, loader):
    """The client for LOAD's ``cortex``; None where there are no models. ``loader()`` is the predictor's ``load_model``, bound.

    Raises:
        ImportError: if the environment lacks what the client runs on.
    """
    cortex = load.get("cortex") or {}
    settings = cortex.get("models")
    if not settings:
        return None
    if cortex["type"] == "onnx":
        return ONNXClient(settings, load["root"])
    if cortex["type"] == "tensorflow":
        address = os.environ.get(SERVING)
        if address:
            return ServingClient(settings, load["root"], address)
        return TensorFlowClient(settings, load["root"], cortex.get("model_batching"))
    return PythonClient(settings, load["root"], loader)


class PythonClient:
    """``python_client`` (``model_client`` of a Handler): models made by the predictor's own ``load_model``."""

    def __init__(self, settings, root, loader):
        self._loader = loader
        self.models = Models(settings, root, lambda path, _name: self._loader()(path))

    def get_model(self, model_name=None, model_version=LATEST):
        """The model that ``load_model`` has made; kept, and made anew when its files change.

        Raises:
            ModelError: if there is none of that name or version.
        """
        return self.models.get(model_name, model_version)

    def prepare(self):
        """Nothing: ``load_model`` can only be called once the predictor is made."""

    def metadata(self):
        """What ``GET`` on the endpoint tells."""
        return {name: {"versions": self.models.versions(name if name != DEFAULT else None)} for name in self.models.names()}


class ONNXClient:
    """``onnx_client``: models run by ONNX Runtime."""

    def __init__(self, settings, root):
        import numpy  # noqa: ICN001
        import onnxruntime

        self._numpy, self._runtime = numpy, onnxruntime
        self.models = Models(settings, root, self._load)

    def _load(self, path, _name):
        providers = getattr(self._runtime, "get_available_providers", lambda: ["CPUExecutionProvider"])()
        return self._runtime.InferenceSession(_onnx_file(path), providers=providers)

    def get_model(self, model_name=None, model_version=LATEST):
        """The ``InferenceSession`` of a model."""
        return self.models.get(model_name, model_version)

    def predict(self, model_input, model_name=None, model_version=LATEST):
        """Run a model: ``model_input`` is a value for its one input, or a dict by its inputs' names. Returns the list of its outputs.

        Raises:
            ModelError: if there is no such model or version, or the inputs are not the model's.
        """
        session = self.get_model(model_name, model_version)
        wanted = session.get_inputs()
        given = model_input if isinstance(model_input, dict) else {wanted[0].name: model_input}
        if not isinstance(model_input, dict) and len(wanted) > 1:
            msg = "the model has several inputs, so they must be a dict: {}".format(", ".join(one.name for one in wanted))
            raise ModelError(msg)
        _same_names(given, [one.name for one in wanted])
        return session.run(None, {one.name: self._array(given[one.name], one) for one in wanted})

    def _array(self, value, wanted):
        array = value
        if not isinstance(value, self._numpy.ndarray):
            array = self._numpy.array(value, dtype=_ONNX_TYPES.get(wanted.type))
        shape = [size if isinstance(size, int) else -1 for size in wanted.shape]
        if array.ndim != len(shape) and shape.count(-1) <= 1:
            array = array.reshape(shape)
        return array

    def prepare(self):
        """Load the models."""
        self.models.load_all()

    def metadata(self):
        """What ``GET`` on the endpoint tells: each model's versions and inputs."""
        return {name: {"versions": self.models.versions(_asked(name)), **self._inputs(name)} for name in self.models.names()}

    def _inputs(self, name):
        session = self.models.get(_asked(name))
        return {"input_signatures": {one.name: {"shape": list(one.shape), "type": one.type} for one in session.get_inputs()}}


_ONNX_TYPES = {
    "tensor(" + name + ")": kind
    for name, kind in {
        "float": "float32",
        "double": "float64",
        "float16": "float16",
        "bool": "bool",
        "string": "object",
        "int8": "int8",
        "int16": "int16",
        "int32": "int32",
        "int64": "int64",
        "uint8": "uint8",
        "uint16": "uint16",
        "uint32": "uint32",
        "uint64": "uint64",
    }.items()
}


def _onnx_file(path):
    if os.path.isfile(path):
        return path
    found = sorted(name for name in os.listdir(path) if name.endswith(".onnx"))
    if len(found) != 1:
        msg = "{} holds {} files that end with .onnx, and should hold one".format(path, len(found) or "no")
        raise ModelError(msg)
    return os.path.join(path, found[0])


class TensorFlowClient:
    """``tensorflow_client``: SavedModels run by the environment's TensorFlow, without a server.

    ``batching`` is ``server_side_batching``: calls of several threads are answered by one of the model.
    """

    def __init__(self, settings, root, batching=None):
        import tensorflow  # noqa: ICN001

        self._tensorflow, self._batching = tensorflow, batching
        self.models = Models(settings, root, self._load)

    def _load(self, path, name):
        model = self._tensorflow.saved_model.load(_saved_model(path))
        function = model.signatures[_signature(self.models.signature_key(name), list(model.signatures))]
        run = function
        if self._batching is not None:
            run = Gather(self._batching["max_batch_size"], self._batching["max_latency"], lambda items: self._run_all(function, items))
        return model, function, run  # the functions live as long as their model

    def predict(self, model_input, model_name=None, model_version=LATEST):
        """Run a model: ``model_input`` is a dict by its inputs' names. Returns each output by its name as a flat list, as in Cortex.

        Raises:
            ModelError: if there is no such model or version, or the inputs are not the model's.
        """
        _model, function, run = self.models.get(model_name, model_version)
        wanted = function.structured_input_signature[1]
        _same_names(model_input, list(wanted))
        tensors = {name: self._tensor(model_input[name], wanted[name]) for name in wanted}
        outputs = function(**tensors) if run is function else run(tensors)
        return {name: tensor.numpy().reshape(-1).tolist() for name, tensor in outputs.items()}

    def _run_all(self, function, items):
        """One call of the model for many; for each its own where they do not go together."""
        rows = [_rows(tensors) for tensors in items]
        if None not in rows and len({_inner(tensors) for tensors in items}) == 1:
            joined = {name: self._tensorflow.concat([tensors[name] for tensors in items], 0) for name in items[0]}
            outputs = function(**joined)
            if _rows(outputs) == sum(rows):
                parts = {name: self._tensorflow.split(tensor, rows, 0) for name, tensor in outputs.items()}
                return [{name: part[place] for name, part in parts.items()} for place in range(len(items))]
        return [function(**tensors) for tensors in items]

    def _tensor(self, value, wanted):
        tensor = self._tensorflow.convert_to_tensor(value, dtype=wanted.dtype)
        return tensor if wanted.shape.is_compatible_with(tensor.shape) else self._tensorflow.expand_dims(tensor, 0)

    def prepare(self):
        """Load the models."""
        self.models.load_all()

    def metadata(self):
        """What ``GET`` on the endpoint tells."""
        return {name: {"versions": self.models.versions(_asked(name)), **self._inputs(name)} for name in self.models.names()}

    def _inputs(self, name):
        wanted = self.models.get(_asked(name))[1].structured_input_signature[1]
        shapes = {key: None if one.shape.rank is None else one.shape.as_list() for key, one in wanted.items()}
        return {"input_signatures": {key: {"shape": shapes[key], "type": one.dtype.name} for key, one in wanted.items()}}


def _rows(tensors):
    """How many rows all of these tensors have; None if they differ, or one has no rows."""
    counts = {tensor.shape[0] if tensor.shape.rank else None for tensor in tensors.values()}
    return counts.pop() if len(counts) == 1 else None


def _inner(tensors):
    """What the shapes of these tensors are beside their rows."""
    return tuple((name, tuple(tensor.shape[1:])) for name, tensor in sorted(tensors.items()))


def _saved_model(path):
    if os.path.isfile(os.path.join(path, "saved_model.pb")) or os.path.isfile(os.path.join(path, "saved_model.pbtxt")):
        return path
    inside = [os.path.join(path, name) for name in sorted(os.listdir(path))] if os.path.isdir(path) else []
    for folder in inside:
        if os.path.isfile(os.path.join(folder, "saved_model.pb")):
            return folder
    raise ModelError(f"{path} holds no SavedModel (saved_model.pb)")


class ServingClient:
    """``tensorflow_client`` over a TensorFlow Serving that runs already, by its REST interface."""

    def __init__(self, settings, root, address):
        self.models = Models(settings, root, None)
        self._address = (address if "://" in address else "http://" + address).rstrip("/")
        self._single = os.environ.get("LADING_TENSORFLOW_SERVING_MODEL") or os.path.basename((settings.get("path") or "model").rstrip("/"))
        self._known = {}

    def predict(self, model_input, model_name=None, model_version=LATEST):
        """See `TensorFlowClient.predict`."""
        name = model_name or self._single
        place = "/v1/models/" + urllib.parse.quote(name, safe="")
        if str(model_version) != LATEST:
            if not str(model_version).isdigit():
                raise ModelError(f'model_version must be a number or "latest", and it is {model_version!r}')
            place += "/versions/" + str(model_version)
        key, inputs, outputs = self._signature(place, model_name)
        _same_names(model_input, inputs)
        asked = {"signature_name": key, "inputs": {one: _plain(value) for one, value in model_input.items()}}
        answer = self._ask(place + ":predict", asked)["outputs"]
        named = answer if isinstance(answer, dict) and len(outputs) != 1 else {outputs[0]: answer}
        return {one: _flat(value) for one, value in named.items()}

    def _signature(self, place, name):
        if place not in self._known:
            told = self._ask(place + "/metadata")["metadata"]["signature_def"]["signature_def"]
            key = _signature(self.models.signature_key(name), [one for one in told if one != "__saved_model_init_op"])
            self._known[place] = key, sorted(told[key]["inputs"]), sorted(told[key]["outputs"])
        return self._known[place]

    def _ask(self, place, asked=None):
        data = None if asked is None else json.dumps(asked).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self._address + place, data=data), timeout=600) as answer:  # noqa: S310 - the configuration's address
                return json.loads(answer.read().decode())
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode("utf-8", "replace")
            raise ModelError(f"TensorFlow Serving at {self._address} answered {error.code}: {said}") from None
        except urllib.error.URLError as error:
            raise OSError(f"TensorFlow Serving at {self._address} ({SERVING}) cannot be reached: {error.reason}") from None

    def prepare(self):
        """Nothing: the server has the models."""

    def metadata(self):
        """What ``GET`` on the endpoint tells."""
        return {}


def _asked(name):
    return None if name == DEFAULT else name


def _same_names(given, wanted):
    if not isinstance(given, dict):
        msg = "model_input must be a dict by the model's inputs: {}".format(", ".join(wanted))
        raise ModelError(msg)
    missing, unknown = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    if missing or unknown:
        said = ["lacks " + ", ".join(missing)] if missing else []
        said += ["has {}, which the model does not know".format(", ".join(map(str, unknown)))] if unknown else []
        msg = "model_input {}; the model's inputs are {}".format(" and ".join(said), ", ".join(wanted))
        raise ModelError(msg)


def _signature(wanted, there):
    if wanted is None:
        wanted = there[0] if len(there) == 1 else "serving_default" if "serving_default" in there else "predict"
    if wanted not in there:
        msg = "the model has no signature {!r}; it has {}. Set signature_key.".format(wanted, ", ".join(there) or "none")
        raise ModelError(msg)
    return wanted


def _plain(value):
    return value.tolist() if hasattr(value, "tolist") else value


def _flat(value):
    if not isinstance(value, list):
        return [value]
    return [one for item in value for one in _flat(item)]
