"""LitServe: one worker process behind one API server."""

import sys

import litserve
from models import FIELD, PREDICT, WORKLOAD, batch, stream


class Api(litserve.LitAPI):
    def setup(self, device):
        pass

    def decode_request(self, request):
        return request[FIELD]

    def predict(self, value):
        return PREDICT(value)

    def encode_response(self, output):
        return {"output": output}


class Streaming(Api):
    def predict(self, value):
        yield from stream(value)

    def encode_response(self, outputs):
        for output in outputs:
            yield {"output": output}


class Batching(Api):
    def predict(self, values):
        return batch(list(values))

    def batch(self, inputs):
        return list(inputs)

    def unbatch(self, output):
        return list(output)


if __name__ == "__main__":
    if WORKLOAD == "batch":
        api = Batching(max_batch_size=32, batch_timeout=0.005)
    else:
        api = Streaming(stream=True) if WORKLOAD == "stream" else Api()
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
