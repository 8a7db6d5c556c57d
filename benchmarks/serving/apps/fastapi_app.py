"""FastAPI as its documentation shows it: typed bodies, plain functions (which run in its threads), the model in its process."""

import json

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from models import FIELD, PREDICT, WORKLOAD, stream
from pydantic import create_model

KIND = list[float] if WORKLOAD == "matmul" else str
Body = create_model("Body", **{FIELD: (KIND, ...)})
Answer = create_model("Answer", output=(KIND if WORKLOAD == "matmul" else str, ...))
app = FastAPI()

if WORKLOAD == "stream":

    @app.post("/predict")
    def predict(body: Body) -> StreamingResponse:
        tokens = (f"data: {json.dumps(token)}\n\n" for token in stream(body.text))
        return StreamingResponse(tokens, media_type="text/event-stream")

else:

    @app.post("/predict")
    def predict(body: Body) -> Answer:
        return Answer(output=PREDICT(getattr(body, FIELD)))
