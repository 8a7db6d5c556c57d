"""A picture in, the same picture blurred out."""

import tempfile

from cog import BasePredictor, Input, Path
from PIL import Image, ImageFilter


class Predictor(BasePredictor):
    def setup(self) -> None:
        """Nothing to load; a model would be loaded here."""

    def predict(
        self,
        image: Path = Input(description="The picture to blur"),
        radius: float = Input(description="How far, in pixels", default=5, ge=0, le=100),
    ) -> Path:
        """Blur one picture."""
        output = Path(tempfile.mkdtemp()) / "output.png"
        with Image.open(str(image)) as picture:
            picture.convert("RGB").filter(ImageFilter.GaussianBlur(radius)).save(str(output))
        return output
