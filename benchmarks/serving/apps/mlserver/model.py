"""MLServer: a custom runtime."""

import models
from mlserver import MLModel
from mlserver.types import InferenceResponse, ResponseOutput


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


class Model(MLModel):
    async def predict(self, request):
        data = request.inputs[0].data.root
        if models.WORKLOAD == "matmul":
            output = ResponseOutput(name="output", shape=[1, 10], datatype="FP32", data=models.matmul(data))
        elif models.WORKLOAD == "batch":
            texts = models.batch([_text(value) for value in data])
            output = ResponseOutput(name="output", shape=[len(texts)], datatype="BYTES", data=texts)
        else:
            output = ResponseOutput(name="output", shape=[1], datatype="BYTES", data=[models.PREDICT(_text(data[0]))])
        return InferenceResponse(model_name=self.name, outputs=[output])
