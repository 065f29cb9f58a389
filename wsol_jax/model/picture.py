"""A picture of a prediction: the photo, its heat map, its boxes, its class."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsol_jax.model.prediction import Prediction
from wsol_jax.report.figures import COLORS, heat_overlay


def draw(image: np.ndarray, prediction: Prediction) -> Image.Image:
    """Return a photo with its prediction drawn on it.

    Args:
        image: uint8 [h, w, 3].
        prediction: for this photo.

    Returns:
        An RGB image of the same size.
    """
    heat = prediction.heat_map
    picture = Image.fromarray(image if heat is None else heat_overlay(image, heat))
    pen, width = ImageDraw.Draw(picture), max(2, round(max(picture.size) / 150))
    color = COLORS["localizer" if heat is None else "fixed"]
    for box in prediction.boxes:
        left, top, right, bottom = np.clip(box, 0, np.tile(picture.size, 2) - 1).tolist()
        pen.rectangle((left, top, max(left, right), max(top, bottom)), outline=color, width=width)
    if prediction.label is not None:
        text = f"{prediction.label} {100 * prediction.label_score:.0f} %"
        font = ImageFont.load_default(size=max(12, 6 * width))
        place = (width, width)
        pen.rectangle(pen.textbbox(place, text, font=font), fill="black")
        pen.text(place, text, fill="white", font=font)
    return picture
