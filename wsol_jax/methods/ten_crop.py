"""Ten-crop classification, a wrapper of methods (PSOL_inference.py; torchvision's TenCrop)."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp

from wsol_jax.data.render import Batch
from wsol_jax.methods.method import Method, Prediction, Variables


def ten_crop(method: Method, size: int) -> Method:
    """Return the same method, whose logits are the logarithm of the mean softmax over ten crops, and without boxes.

    Args:
        method: its `predict` gives logits of photos of `size`.
        size: side of a crop, pixels; the photos of a batch are larger: PSOL resizes them to 256 and crops 224.
    """

    def predict(variables: Variables, batch: Batch, label: jax.Array | None = None) -> Prediction:
        logits = (
            method.predict(variables, batch._replace(image=crop), label).logits for crop in crops(batch.image, size)
        )
        return Prediction(logits=jnp.log(sum(jax.nn.softmax(crop, axis=-1) for crop in logits) / 10))

    return method._replace(predict=predict)


def crops(image: jax.Array, size: int) -> Iterator[jax.Array]:
    """Yield the four corners and the centre of photos, and those of their mirror images, each [b, size, size, 3].

    Args:
        image: [b, h, w, 3].
        size: side of a crop, pixels.
    """
    down, right = image.shape[1] - size, image.shape[2] - size
    for side in (image, image[:, :, ::-1]):
        for top, left in ((0, 0), (0, right), (down, 0), (down, right), (round(down / 2), round(right / 2))):
            yield side[:, top : top + size, left : left + size]
