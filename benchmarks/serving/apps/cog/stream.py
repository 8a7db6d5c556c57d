from typing import Iterator

from cog import BasePredictor, streaming


class Predictor(BasePredictor):
    @streaming
    def predict(self, text: str) -> Iterator[str]:
        for number in range(20):
            yield f"{text}{number} "
