"""A model as a `jax.export` artifact: StableHLO with the weights inside, for any number of photos.

Decoding, cropping and resizing stay outside: the artifact takes uint8 photos at the networks' sizes, as Pillow's
antialiased bilinear `resize` makes them; normalisation and all that follows is inside.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import export as jax_export

from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.model.model import BOXES, CLASSES, MAPS, Model, View, view_of

PLATFORMS = ("cpu", "cuda", "tpu")
KNOWN = (*PLATFORMS, "rocm")


def export(model: Model, file: Path, platforms: Sequence[str]) -> None:
    """Write a model as FILE, and its classes and sizes as FILE.json.

    The artifact is a function of {name of a view: uint8 [b, size, size, 3]} to a dict of float32: 'box' [b, 4],
    normalised xyxy in the frame of the whole photo, 'mirror_iou' [b] where boxes are averaged with those of mirror
    images, 'mask' [b, h, w], probabilities, where they are cut from masks; 'logits' [b, classes]; 'map' [b, h, w], of
    the most probable class. FILE.json lists the views: the window of the photo, normalised xyxy, and the size that it
    is resized to.

    Args:
        model: the model.
        file: any name.
        platforms: some of 'cpu', 'cuda', 'tpu', 'rocm'.

    Raises:
        InputError: there is no such platform.
    """
    unknown = [name for name in platforms if name not in KNOWN]
    if unknown or not platforms:
        raise InputError(f"platforms: {','.join(platforms)!r}; expected some of {', '.join(KNOWN)}")
    names = view_names(model)
    (batch,) = jax_export.symbolic_shape("b")
    images = {name: jax.ShapeDtypeStruct((batch, view.size, view.size, 3), "uint8") for view, name in names.items()}
    exported = jax_export.export(jax.jit(function_of(model)), platforms=platforms)(images)
    text = json.dumps(_description(model, names, exported), indent=2)
    write_atomically(file, lambda out: out.write(exported.serialize()))
    write_atomically(file.with_name(f"{file.name}.json"), lambda out: out.write(text.encode()))


def view_names(model: Model) -> dict[View, str]:
    """Return the name of each view of a model: 'image', or 'image_SIZE' and a number where there are several."""
    views = model.views()
    if len(views) == 1:
        return {views[0]: "image"}
    sizes = [view.size for view in views]
    unique = len(set(sizes)) == len(sizes)
    return {view: f"image_{view.size}" if unique else f"image_{view.size}_{i}" for i, view in enumerate(views)}


def function_of(model: Model) -> Any:
    """Return the function from {view: photos} to {name: array}; see `export`.

    Args:
        model: the model, whose weights become constants.
    """
    names = view_names(model)
    networks = {task: (ready, jax.device_get(ready.variables)) for task, ready in model.networks.items()}

    def predict(images: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        done, outputs = {}, {}
        for task, (ready, variables) in networks.items():
            if id(ready) not in done:
                view = view_of(ready)
                done[id(ready)] = ready.method.predict(variables, batch_of(images[names[view]], view), None)
            prediction = done[id(ready)]
            if task == BOXES:
                outputs["box"] = prediction.box
                outputs |= {} if prediction.mirror_iou is None else {"mirror_iou": prediction.mirror_iou}
                outputs |= {} if prediction.stability is None else {"mask": prediction.map}
            elif task == CLASSES:
                outputs["logits"] = prediction.logits
            elif task == MAPS:
                outputs["map"] = prediction.map
        return outputs

    return predict


def batch_of(image: jax.Array, view: View) -> Batch:
    """Return the batch of photos without labels, all of them seen through one view.

    Args:
        image: uint8 [b, size, size, 3].
        view: the view.
    """
    rows = image.shape[0]
    return Batch(
        image=image,
        window=jnp.broadcast_to(jnp.array(view.window, jnp.float32), (rows, 4)),
        flip=jnp.zeros(rows, bool),
        label=jnp.full(rows, -1, jnp.int32),
        target=jnp.zeros((rows, 4), jnp.float32),
        index=jnp.zeros(rows, jnp.int32),
        valid=jnp.ones(rows, bool),
    )


def _description(model: Model, names: Mapping[View, str], exported: jax_export.Exported) -> dict[str, Any]:
    outputs = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    return {
        "method": model.title,
        "classes": list(model.classes),
        "inputs": {name: {"window": view.window, "size": view.size} for view, name in names.items()},
        "outputs": {name: [str(n) for n in aval.shape] for name, aval in outputs.items()},
        "resize": "Pillow: image.resize((size, size), Image.Resampling.BILINEAR, box=window in pixels)",
        "box_threshold": model.box_threshold,
        "platforms": list(exported.platforms),
        "jax": jax.__version__,
    }
