"""Which digit is written there?"""

import numpy as np
import torch
from cog import BaseModel, BasePredictor, Input, Path
from PIL import Image

from model import Digits


class Output(BaseModel):
    digit: int
    confidence: float


class Predictor(BasePredictor):
    def setup(self) -> None:
        """Load the weights that lie beside this file."""
        self.model = Digits().eval()
        self.model.load_state_dict(torch.load("weights.pt", weights_only=True))

    @torch.inference_mode()
    def predict(self, image: Path = Input(description="A white digit on black, any size")) -> Output:
        """Recognise one digit."""
        with Image.open(str(image)) as picture:
            grey = np.asarray(picture.convert("L").resize((28, 28)), dtype=np.float32) / 255
        probabilities = self.model(torch.from_numpy(grey)[None, None]).softmax(1)[0]
        digit = int(probabilities.argmax())
        return Output(digit=digit, confidence=round(float(probabilities[digit]), 3))
