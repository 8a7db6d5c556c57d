"""cortex.yaml files as they occur, with Cortex's own words for what is wrong."""

from __future__ import annotations

import pytest

from lading.formats import cortex_yaml
from lading.model.files import MemoryFiles
from lading.model.origin import Origin
from lading.model.project import ProjectConfig, ProjectKind, Style
from tests.formats.reading import problems

FILES = {"predictor.py": "", "src/lib.py": ""}
HEAD = "- name: iris\n  kind: RealtimeAPI\n"
PREDICTOR = HEAD + "  predictor:\n    type: python\n    path: predictor.py\n"
BATCH = PREDICTOR.replace("RealtimeAPI", "BatchAPI")
ONNX = PREDICTOR.replace("python", "onnx")
SPLIT = "- name: split\n  kind: TrafficSplitter\n  apis:\n"


def config(text: str, **files: str) -> ProjectConfig:
    renamed = {name.replace("__", ".").replace("_", "-"): content for name, content in files.items()}
    return cortex_yaml.parse_config("cortex.yaml", MemoryFiles({**FILES, **renamed, "cortex.yaml": text}))


def refusals(text: str, **files: str) -> list[tuple[int | None, str]]:
    found = problems(lambda: config(text, **files))
    assert all(problem.instead for problem in found)
    return [(problem.origin.line if problem.origin else None, problem.what) for problem in found]


def test_a_whole_api_is_read():
    text = (
        PREDICTOR
        + """    python_path: src
    processes_per_replica: 2
    threads_per_process: 4
    log_level: debug
    config:
      bucket: models
      rate: 1e-5
      tags: [a, 2, null, true]
    env:
      MODE: fast
    dependencies:
      pip: requirements-gpu.txt
  networking:
    endpoint: classify/iris
  compute: {gpu: 1, mem: 4G}
  autoscaling: {min_replicas: 1, max_replicas: 5, window: 60s}
"""
    )
    found = config(text, requirements_gpu__txt="numpy")
    assert (found.kind, found.path, found.gpu) == (ProjectKind.CORTEX, "cortex.yaml", True)
    (api,) = found.apis
    assert (api.name, api.style, api.file, api.object) == ("iris", Style.CORTEX, "predictor.py", "PythonPredictor")
    assert (api.endpoint, api.python_path, api.log_level, api.processes, api.threads) == ("/classify/iris", "src", "debug", 2, 4)
    assert api.config == {"bucket": "models", "rate": 1e-5, "tags": ["a", 2, None, True]}
    assert api.env == (("MODE", "fast"),)
    assert api.origin == Origin("cortex.yaml", 5)
    assert api.dependencies.pip is not None
    assert (api.dependencies.pip.path, api.dependencies.pip.origin) == ("requirements-gpu.txt", Origin("cortex.yaml", 17))
    assert [decision.rule for decision in found.decisions] == ["cluster-settings-not-used"]


def test_the_endpoint_is_the_name_when_nothing_is_said():
    (api,) = config(PREDICTOR).apis
    assert (api.endpoint, api.dependencies.pip, dict(api.config)) == ("/iris", None, {})


@pytest.mark.parametrize("value", ["", " null", " {}"])
def test_an_empty_config_is_an_empty_map(value):
    assert dict(config(PREDICTOR + f"    config:{value}\n").apis[0].config) == {}


def test_numbers_and_dates_in_config_mean_what_they_meant_to_cortex():
    text = PREDICTOR + "    config: {a: 0o17, b: 017, c: 1_000, d: 2020-01-01, e: 1:30, f: .inf, g: 'no', h: no, i: 0x1F, j: 1.5}\n"
    assert config(text).apis[0].config == {
        "a": 15,
        "b": 15,
        "c": 1000,
        "d": "2020-01-01",
        "e": "1:30",
        "f": float("inf"),
        "g": "no",
        "h": False,
        "i": 31,
        "j": 1.5,
    }


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "cortex.yaml is empty."),
        ("[]", 1, "cortex.yaml lists no API."),
        ("name: iris\n", 1, "cortex.yaml must be a list of APIs, and it is a map of keys."),
        ("- iris\n", 1, 'resource at index 0: invalid type (expected a map, got the text "iris")'),
        ("- kind: RealtimeAPI\n  predictor: {type: python, path: predictor.py}\n", 1, "resource at index 0: name: must be defined"),
        ("- name: iris\n", 1, 'iris: kind: must be defined, and set to "RealtimeAPI", "BatchAPI", "TrafficSplitter", "TaskAPI" or "AsyncAPI"'),
        ("- name: iris\n  kind: SyncAPI\n", 2, "iris (SyncAPI): kind: SyncAPI was renamed"),
        ("- name: a\n  kind: BatchAPI\n", 1, "a (BatchAPI): predictor: must be defined"),
        ("- name: a\n  kind: TaskAPI\n", 1, "a (TaskAPI): definition: must be defined"),
        ("- name: a\n  kind: TaskAPI\n  definition: {path: task.sh}\n", 3, "a (TaskAPI): definition: path: task.sh: file does not exist"),
        ("- name: a\n  kind: TaskAPI\n  definition: {path: predictor.py, type: python}\n", 3, 'a (TaskAPI): definition: key "type" is not supported'),
        (BATCH + "  autoscaling: {}\n", 6, 'iris (BatchAPI): key "autoscaling" is not supported'),
        (BATCH + "    processes_per_replica: 2\n", 6, "iris (BatchAPI): predictor: processes_per_replica: processes_per_replica cannot be greater than 1 for BatchAPI"),
        (BATCH + "    multi_model_reloading: {dir: s3://a}\n", 6, "iris (BatchAPI): predictor: multi_model_reloading: multi_model_reloading is only supported for RealtimeAPI"),
        (BATCH + "    protobuf_path: a.proto\n", 6, "iris (BatchAPI): predictor: protobuf_path: protobuf_path is only supported for RealtimeAPI"),
        ("- name: a\n  kind: TrafficSplitter\n", 1, "a (TrafficSplitter): apis: must be defined"),
        ("- name: a\n  kind: TrafficSplitter\n  apis: []\n", 3, "a (TrafficSplitter): apis: cannot be empty"),
        ("- name: a\n  kind: TrafficSplitter\n  apis: {b: 1}\n", 3, "a (TrafficSplitter): apis: invalid type (expected a list, got a map of keys)"),
        (PREDICTOR + SPLIT + "    - {name: iris, weight: 90}\n", 8, "split (TrafficSplitter): apis: expected weights of all non-shadow apis to sum to 100 but found 90"),
        (PREDICTOR + SPLIT + "    - {name: gone, weight: 100}\n", 8, "split (TrafficSplitter): apis: api gone was either not found or is not a RealtimeAPI"),
        (PREDICTOR + SPLIT + "    - {name: iris, weight: 100}\n    - {name: iris, weight: 1, shadow: true}\n", 10, 'split (TrafficSplitter): apis: index 1: the api "iris" is named twice'),
        (PREDICTOR + SPLIT + "    - {name: iris, weight: 100, shadow: 1}\n", 9, 'split (TrafficSplitter): apis: index 0: shadow: "1": invalid type (expected bool)'),
        (ONNX, 4, 'iris (RealtimeAPI): predictor: models: must be defined, and contain one of the following keys: "path", "paths", "dir"'),
        (ONNX + "    models: {}\n", 6, 'iris (RealtimeAPI): predictor: models: exactly one of "path", "paths" and "dir" must be specified (found none)'),
        (ONNX + "    models: {path: a, dir: b}\n", 6, 'iris (RealtimeAPI): predictor: models: exactly one of "path", "paths" and "dir" must be specified (found path, dir)'),
        (ONNX + "    models: {path: ftp://a}\n", 6, 'iris (RealtimeAPI): predictor: models: path: "ftp://a" is not a supported location'),
        (ONNX + "    models: {path: a, signature_key: b}\n", 6, "iris (RealtimeAPI): predictor: models: signature_key is only supported by the tensorflow predictor type"),
        (ONNX + "    models: {dir: a, cache_size: 2}\n", 6, "iris (RealtimeAPI): predictor: models: disk_cache_size: must be defined, as cache_size is"),
        (ONNX + "    models: {dir: a, cache_size: 3, disk_cache_size: 2}\n", 6, "iris (RealtimeAPI): predictor: models: cache_size (3) cannot exceed disk_cache_size (2)"),
        (ONNX + "    models: {dir: a, cache_size: 1, disk_cache_size: 2}\n    processes_per_replica: 2\n", 6, "iris (RealtimeAPI): predictor: models: processes_per_replica must be 1 with model caching"),
        (ONNX + "    models: {paths: [{name: _cortex_default, path: a}]}\n", 6, 'iris (RealtimeAPI): predictor: models: paths: index 0: name: "_cortex_default" is a reserved name'),
        (ONNX + "    models: {paths: [{name: a.b, path: a}]}\n", 6, 'iris (RealtimeAPI): predictor: models: paths: index 0: name: "a.b" must contain only letters, numbers, underscores, and dashes'),
        (ONNX + "    models: {paths: [{name: a}]}\n", 6, "iris (RealtimeAPI): predictor: models: paths: index 0: path: must be defined"),
        (ONNX + "    models: {paths: [a]}\n", 6, 'iris (RealtimeAPI): predictor: models: paths: index 0: invalid type (expected a map, got the text "a")'),
        (ONNX + "    models: {path: a}\n    multi_model_reloading: {path: a}\n", 7, "iris (RealtimeAPI): predictor: multi_model_reloading is not a supported field for the onnx predictor type"),
        (PREDICTOR + "    protobuf_path: a.txt\n", 6, 'iris (RealtimeAPI): predictor: protobuf_path: "a.txt" must end with ".proto"'),
        (HEAD, 1, "iris (RealtimeAPI): predictor: must be defined"),
        (HEAD + "  predictor:\n", 3, "iris (RealtimeAPI): predictor: cannot be null (specify a value, or remove the key to use the default value)"),
        (HEAD + "  predictor: {path: predictor.py}\n", 3, 'iris (RealtimeAPI): predictor: type: must be defined, and set to "python", "tensorflow" or "onnx"'),
        (HEAD + "  predictor: {type: python}\n", 3, "iris (RealtimeAPI): predictor: path: must be defined"),
        (HEAD + "  predictor: {type: python, path: ''}\n", 3, "iris (RealtimeAPI): predictor: path: cannot be empty"),
        (HEAD + "  predictor: {type: python, path: a.txt}\n", 3, 'iris (RealtimeAPI): predictor: path: "a.txt" must end with ".py"'),
        (HEAD + "  predictor: {type: python, path: gone.py}\n", 3, "iris (RealtimeAPI): predictor: path: gone.py: file does not exist"),
        (HEAD + "  predictor: {type: python, path: ../a.py}\n", 3, "iris (RealtimeAPI): predictor: path: ../a.py: file is outside of the project"),
        (PREDICTOR + "    paht: x\n", 6, 'iris (RealtimeAPI): predictor: key "paht" is not supported'),
        (PREDICTOR + "  replicas: 1\n", 6, 'iris (RealtimeAPI): key "replicas" is not supported'),
        (PREDICTOR + "    processes_per_replica: 0\n", 6, "iris (RealtimeAPI): predictor: processes_per_replica: must be greater than or equal to 1 (got 0)"),
        (PREDICTOR + "    processes_per_replica: 101\n", 6, "iris (RealtimeAPI): predictor: processes_per_replica: must be less than or equal to 100 (got 101)"),
        (PREDICTOR + "    threads_per_process: '2'\n", 6, 'iris (RealtimeAPI): predictor: threads_per_process: "2": invalid type (expected integer)'),
        (PREDICTOR + "    log_level: warn\n", 6, 'iris (RealtimeAPI): predictor: log_level: invalid value (got "warn", must be "debug", "info", "warning" or "error")'),
        (PREDICTOR + "    python_path: .\n", 6, 'iris (RealtimeAPI): predictor: python_path: "." is not allowed, please use a different value'),
        (PREDICTOR + "    python_path: gone\n", 6, "iris (RealtimeAPI): predictor: python_path: gone: directory does not exist"),
        (PREDICTOR + "    env: {CORTEX_A: b}\n", 6, "iris (RealtimeAPI): predictor: env: CORTEX_A: environment variables starting with CORTEX_ are reserved"),
        (PREDICTOR + "    env: {A: 1}\n", 6, "iris (RealtimeAPI): predictor: env: A: 1: invalid type (expected string)"),
        (PREDICTOR + "    config: [a]\n", 6, "iris (RealtimeAPI): predictor: config: invalid type (expected a map, got a list)"),
        (PREDICTOR + "    models: {path: s3://a}\n", 6, "iris (RealtimeAPI): predictor: models is not a supported field for the python predictor type"),
        (PREDICTOR + "    protobuf_path: a.proto\n", 6, "iris (RealtimeAPI): predictor: protobuf_path: a.proto: file does not exist"),
        (PREDICTOR + "    protobuf_path: ../a.proto\n", 6, "iris (RealtimeAPI): predictor: protobuf_path: ../a.proto: file is outside of the project"),
        (PREDICTOR + "    shm_size: lots\n", 6, 'iris (RealtimeAPI): predictor: shm_size: "lots": invalid quantity'),
        (PREDICTOR + "    shm_size: 2Gi\n  compute: {mem: 1Gi}\n", 6, "iris (RealtimeAPI): predictor: predictor.shm_size (2Gi) cannot exceed compute.mem (1Gi)"),
        (PREDICTOR + "    dependencies: {pip: requirement-gpu.txt}\n", 6, "iris (RealtimeAPI): predictor: dependencies: pip: requirement-gpu.txt: file does not exist"),
        (PREDICTOR + "    dependencies: {shell: install.sh}\n", 6, "iris (RealtimeAPI): predictor: dependencies: shell: install.sh: file does not exist"),
        (PREDICTOR + "    dependencies: {pip: ''}\n", 6, "iris (RealtimeAPI): predictor: dependencies: pip: cannot be empty"),
        (PREDICTOR + "    dependencies: {poetry: x}\n", 6, 'iris (RealtimeAPI): predictor: dependencies: key "poetry" is not supported'),
        (PREDICTOR + "  compute: {cpu: 10m}\n", 6, "iris (RealtimeAPI): compute: cpu: must be greater than or equal to 20m (got 10m)"),
        (PREDICTOR + "  compute: {mem: 10Mi}\n", 6, "iris (RealtimeAPI): compute: mem: must be greater than or equal to 20Mi (got 10Mi)"),
        (PREDICTOR + "  compute: {gpu: 1, inf: 1}\n", 6, "iris (RealtimeAPI): compute: gpu and inf resources cannot be used together"),
        (PREDICTOR + "  networking: {endpoint: a//b}\n", 6, 'iris (RealtimeAPI): networking: endpoint: "a//b" cannot contain adjacent slashes'),
        (PREDICTOR + "  networking: {endpoint: /}\n", 6, 'iris (RealtimeAPI): networking: endpoint: "/" is not a valid endpoint'),
        (PREDICTOR + "  autoscaling: {min_replicas: 5, max_replicas: 2}\n", 6, "iris (RealtimeAPI): autoscaling: min_replicas cannot be greater than max_replicas (5 > 2)"),
        (PREDICTOR + "  autoscaling: {init_replicas: 3, max_replicas: 2}\n", 6, "iris (RealtimeAPI): autoscaling: init_replicas cannot be greater than max_replicas (3 > 2)"),
        (PREDICTOR + "  autoscaling: {init_replicas: 1, min_replicas: 2}\n", 6, "iris (RealtimeAPI): autoscaling: init_replicas cannot be less than min_replicas (1 < 2)"),
        (PREDICTOR + "  autoscaling: {target_replica_concurrency: 2000}\n", 6, "iris (RealtimeAPI): autoscaling: target_replica_concurrency cannot be greater than max_replica_concurrency (2000 > 1024)"),
        (PREDICTOR + "  autoscaling: {window: 15s}\n", 6, "iris (RealtimeAPI): autoscaling: window: must be a multiple of 10s (got 15s)"),
        (PREDICTOR + "  autoscaling: {window: soon}\n", 6, 'iris (RealtimeAPI): autoscaling: window: "soon": invalid duration'),
        (PREDICTOR + "  autoscaling: {max_downscale_factor: 1}\n", 6, "iris (RealtimeAPI): autoscaling: max_downscale_factor: must be less than 1 (got 1)"),
        (PREDICTOR + "  autoscaling: {max_upscale_factor: 1}\n", 6, "iris (RealtimeAPI): autoscaling: max_upscale_factor: must be greater than 1 (got 1)"),
        (PREDICTOR + "  update_strategy: {max_surge: 0, max_unavailable: 0%}\n", 6, "iris (RealtimeAPI): update_strategy: max_surge and max_unavailable cannot both be zero"),
        (PREDICTOR + "  update_strategy: {max_surge: 200%}\n", 6, 'iris (RealtimeAPI): update_strategy: max_surge: invalid value (got "200%", must be a whole number or a percentage from 0% to 100%)'),
    ],
)  # fmt: skip
def test_a_mistake_is_said_in_cortexs_words_with_its_line(text, line, message):
    assert refusals(text) == [(line, message)]


@pytest.mark.parametrize("name", ["Iris", "1ris", "iris-", "b-iris", "a" * 43, "iris_api"])
def test_names_that_cortex_refuses_are_refused(name):
    ((line, _),) = refusals(PREDICTOR.replace("iris", name))
    assert line == 1


def test_all_problems_of_all_apis_are_shown_at_once():
    text = PREDICTOR + "    log_level: x\n    env: {A: 1}\n" + "- name: other\n  kind: Batch\n- name: iris2\n  kind: RealtimeAPI\n"
    assert [line for line, _ in refusals(text)] == [6, 7, 9, 10]


def test_two_apis_cannot_share_a_name_or_an_endpoint():
    other = PREDICTOR.replace("iris", "other") + "  networking: {endpoint: iris}\n"
    assert ["endpoint" in what for _, what in refusals(PREDICTOR + other)] == [True]
    assert ["name" in what for _, what in refusals(PREDICTOR + PREDICTOR)] == [True, False]


@pytest.mark.parametrize("named", ["", "    dependencies: {conda: conda-packages.txt}\n"])
def test_a_conda_file_is_never_passed_over(named):
    (api,) = config(PREDICTOR + named, conda_packages__txt="rdkit").apis
    assert api.dependencies.conda is not None
    assert (api.dependencies.conda.path, api.dependencies.conda.explicit) == ("conda-packages.txt", bool(named))


def test_keys_of_older_versions_are_noted_and_do_no_harm():
    text = PREDICTOR + "  monitoring: {model_type: classification}\n  networking: {local_port: 8888, api_gateway: public}\n"
    assert [(decision.rule, decision.subject) for decision in config(text).decisions] == [
        ("key-without-effect", "monitoring"),
        ("key-without-effect", "api_gateway"),
        ("key-without-effect", "local_port"),
    ]


def test_an_image_is_noted():
    assert [decision.rule for decision in config(PREDICTOR + "    image: me/image:1\n").decisions] == ["image-not-used"]


def test_paths_are_relative_to_the_configurations_folder():
    files = MemoryFiles({"svc/cortex.yaml": PREDICTOR, "svc/predictor.py": ""})
    assert cortex_yaml.parse_config("svc/cortex.yaml", files).apis[0].file == "svc/predictor.py"


def test_every_kind_is_read():
    text = (
        PREDICTOR
        + BATCH.replace("iris", "many")
        + PREDICTOR.replace("iris", "later").replace("RealtimeAPI", "AsyncAPI")
        + "- name: once\n  kind: TaskAPI\n  definition: {path: predictor.py, config: {a: 1}}\n"
        + SPLIT
        + "    - {name: iris, weight: 100}\n    - {name: new, weight: 20, shadow: true}\n"
        + PREDICTOR.replace("iris", "new").replace("predictor:", "handler:", 1)
    )
    found = config(text)
    kinds = [(api.name, str(api.cortex.kind), api.object) for api in found.apis]
    assert kinds == [
        ("iris", "RealtimeAPI", "PythonPredictor"),
        ("many", "BatchAPI", "PythonPredictor"),
        ("later", "AsyncAPI", "PythonPredictor"),
        ("once", "TaskAPI", "Task"),
        ("new", "RealtimeAPI", "Handler"),
    ]
    (splitter,) = found.splitters
    assert (splitter.name, splitter.endpoint, splitter.origin.line) == ("split", "/split", 21)
    assert [(share.name, share.weight, share.shadow) for share in splitter.shares] == [("iris", 100, False), ("new", 20, True)]


def test_models_are_read():
    (api,) = config(ONNX + "    models: {dir: s3://b/m, cache_size: 1, disk_cache_size: 2}\n").apis
    assert api.object == "ONNXPredictor"
    assert api.cortex.models is not None
    assert (api.cortex.models.folder, api.cortex.models.cache_size, api.cortex.models.disk_cache_size) == ("s3://b/m", 1, 2)
    (api,) = config(PREDICTOR + "    multi_model_reloading: {paths: [{name: a, path: models/a}]}\n").apis
    assert api.cortex.reloading
    assert api.cortex.models is not None
    assert [(one.name, one.path) for one in api.cortex.models.paths] == [("a", "models/a")]


PROTO = """
// service Commented { }
syntax = "proto3";
package iris;
option java_package = "service X {";
service Flowers { option deprecated = true; rpc Predict (stream Flower) returns (Kind) { option idempotency_level = IDEMPOTENT; } }
message Flower { message service { int32 rpc = 1; } service width = 1; }
message Kind { string name = 1; /* rpc Other (Kind) returns (Kind); */ }
"""


def test_an_api_that_is_called_by_grpc_has_its_services_path():
    (api,) = config(PREDICTOR + "    protobuf_path: flowers.proto\n", flowers__proto=PROTO).apis
    assert api.endpoint == "/iris.Flowers/Predict"
    assert api.cortex.grpc is not None
    assert api.cortex.grpc.as_json() == {
        "path": "flowers.proto",
        "service": "iris.Flowers",
        "methods": {"Predict": {"takes_stream": True, "gives_stream": False}},
    }
    found = config(PREDICTOR + "    protobuf_path: flowers.proto\n  networking: {endpoint: /a}\n", flowers__proto=PROTO)
    assert [(one.rule, one.chose) for one in found.decisions] == [("key-without-effect", "/iris.Flowers/Predict")]


def test_a_handler_answers_every_method_of_its_service():
    text = HEAD + "  handler: {type: python, path: predictor.py, protobuf_path: a.proto}\n"
    proto = "package iris; service A { rpc One (M) returns (stream M); rpc Two (stream) returns (M); }"
    (api,) = config(text, a__proto=proto).apis
    assert api.cortex.grpc is not None
    assert [(one.name, one.takes_stream, one.gives_stream) for one in api.cortex.grpc.methods] == [
        ("One", False, True),
        ("Two", False, False),
    ]


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        ("", "exactly one service must be defined (found none)"),
        ("package iris; service A {} service B {}", "exactly one service must be defined (found A, B)"),
        ("package iris; service A {}", "the service A must define one method, whose name is Predict (found none)"),
        ("package iris; service A { rpc Ask (M) returns (M); }", "the service A must define one method, whose name is Predict (found Ask)"),
        ("service A { rpc Predict (M) returns (M); }", 'the package must be "iris", after the name of the API (it declares none)'),
        ("package a.b; service A { rpc Predict (M) returns (M); }", 'the package must be "iris", after the name of the API (got "a.b")'),
    ],
)
def test_a_proto_file_that_cortex_refuses_is_refused(proto, message):
    found = refusals(PREDICTOR + "    protobuf_path: a.proto\n", a__proto=proto)
    assert found == [(6, f"iris (RealtimeAPI): predictor: protobuf_path: a.proto: {message}")]


def test_an_api_that_is_called_by_grpc_has_no_batches_and_no_splitter():
    batching = "    threads_per_process: 2\n    server_side_batching: {max_batch_size: 2, batch_interval: 1s}\n"
    found = refusals(PREDICTOR + "    protobuf_path: a.proto\n" + batching, a__proto=PROTO)
    assert found == [(8, "iris (RealtimeAPI): predictor: server_side_batching is not supported with protobuf_path")]
    found = refusals(PREDICTOR + "    protobuf_path: a.proto\n" + SPLIT + "    - {name: iris, weight: 100}\n", a__proto=PROTO)
    assert found == [(9, "split (TrafficSplitter): apis: api iris is called by gRPC")]


def test_the_batches_of_tensorflow_are_its_clients():
    text = PREDICTOR.replace("python", "tensorflow") + "    models: {path: m}\n    threads_per_process: 8\n"
    (api,) = config(text + "    server_side_batching: {max_batch_size: 8, batch_interval: 100ms}\n").apis
    told = api.cortex.as_json()
    assert (told["batching"], told["model_batching"]) == (None, {"max_batch_size": 8, "max_latency": 0.1})


def test_the_model_path_of_old_versions_is_read_with_a_note():
    found = config(PREDICTOR.replace("python", "tensorflow") + "    model_path: s3://b/m\n    signature_key: predict\n")
    (api,) = found.apis
    assert api.cortex.models is not None
    assert (api.object, api.cortex.models.path, api.cortex.models.signature_key) == ("TensorFlowPredictor", "s3://b/m", "predict")
    assert [decision.rule for decision in found.decisions] == ["old-key-read"]


def test_the_list_of_models_of_old_versions_is_read_with_a_note():
    found = config(ONNX + "    models: [{name: a, model_path: b}, {name: c, path: s3://d}]\n")
    (api,) = found.apis
    assert api.cortex.models is not None
    assert [(one.name, one.path) for one in api.cortex.models.paths] == [("a", "b"), ("c", "s3://d")]
    (note,) = found.decisions
    assert (note.rule, note.subject, note.chose) == ("old-key-read", "models", "models: paths:")
    assert [what.rpartition(": ")[2] for _, what in refusals(ONNX + "    models: [{name: a}, {nam: b}]\n")] == [
        "must be defined",
        'key "nam" is not supported',
        "must be defined",
        "must be defined",
    ]


def test_an_unknown_type_hides_no_other_mistake():
    text = "- name: iris\n  kind: RealtimeAPI\n  predictor: {type: sklearn, path: p.txt, bad: 1, log_level: loud}\n"
    assert [what.split(": ")[2] for _, what in refusals(text)] == ["type", 'key "bad" is not supported', "path", "log_level"]


def test_the_size_of_batches_must_fit_the_threads():
    found = [what for _, what in refusals(PREDICTOR + "    server_side_batching: {max_batch_size: 8, batch_interval: 1s}\n")]
    assert (
        "iris (RealtimeAPI): predictor: threads_per_process (1) must be equal to max_batch_size (8) "
        "when using server side batching with the python predictor"
    ) in found


def test_dotenv_is_data_and_wins_over_env():
    dotenv = "# mine\nexport A=1\nB=\"$A and ${A}\" # two\nC='$A'\nD=a\\ b\nE=\n"
    files = MemoryFiles({"cortex.yaml": PREDICTOR + "    env: {A: '0', Z: z}\n", "predictor.py": "", ".env": dotenv})
    (api,) = cortex_yaml.parse_config("cortex.yaml", files).apis
    assert dict(api.env) == {"A": "1", "Z": "z", "B": "1 and 1", "C": "$A", "D": "a b", "E": ""}


@pytest.mark.parametrize("line", ["A=$(rm -rf x)", "A=`id`", 'A="`id`"', "A=1; rm x", "rm x", "A='open", "A=${B:-x}"])
def test_a_line_of_dotenv_that_would_run_something_is_refused_and_not_shown(line):
    files = MemoryFiles({"cortex.yaml": PREDICTOR, "predictor.py": "", ".env": "OK=1\n" + line + "\n"})
    found = problems(lambda: cortex_yaml.parse_config("cortex.yaml", files))
    assert [(one.rule, one.what, str(one.origin)) for one in found] == [("dotenv-invalid", "A line of .env is no variable.", ".env:2")]
