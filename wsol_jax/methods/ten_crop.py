"""Ten-crop classification: a method wrapped in another (PSOL_inference.py; torchvision's TenCrop)."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp

from wsol_jax.methods.method import Method, Prediction


def ten_crop(method: Method, size: int) -> Method:
    """The same method, whose logits are the logarithm of the mean softmax of ten crops; it draws no box.

    Args:
        method: its `predict` gives logits of photos of `size`.
        size: side of a crop, pixels; photos are to be larger: PSOL resizes them to 256 and crops 224.
    """

    def predict(variables, batch, label=None):
        logits = (
            method.predict(variables, batch._replace(image=crop), label).logits for crop in crops(batch.image, size)
        )
        return Prediction(logits=jnp.log(sum(jax.nn.softmax(crop, axis=-1) for crop in logits) / 10))

    return method._replace(predict=predict)


def crops(image: jax.Array, size: int) -> Iterator[jax.Array]:
    """The four corners and the centre of photos [b, h, w, 3], and the same mirrored, each [b, size, size, 3]."""
    down, right = image.shape[1] - size, image.shape[2] - size
    for seen in (image, image[:, :, ::-1]):
        for top, left in ((0, 0), (0, right), (down, 0), (down, right), (round(down / 2), round(right / 2))):
            yield seen[:, top : top + size, left : left + size]
