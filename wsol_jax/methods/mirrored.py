"""Mirror averaging, a wrapper of methods: the box is the mean of the boxes of a photo and of its mirror image."""

import jax

from wsol_jax import boxes
from wsol_jax.data.render import Batch
from wsol_jax.methods.method import Method, Prediction, Variables


def mirrored(method: Method) -> Method:
    """Return the same method, whose boxes are averaged with those of the mirror images, mirrored back.

    Args:
        method: its `predict` gives boxes, and perhaps logits, which stay those of the photos.
    """

    def predict(variables: Variables, batch: Batch, label: jax.Array | None = None) -> Prediction:
        turned = batch._replace(image=batch.image[:, :, ::-1], flip=~batch.flip)
        one, other = method.predict(variables, batch, label), method.predict(variables, turned, label)
        return one._replace(box=(one.box + other.box) / 2, mirror_iou=boxes.iou(one.box, other.box))

    return method._replace(predict=predict)
