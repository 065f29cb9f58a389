"""A trained or pretrained model: from photos to boxes, classes and heat maps."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from absl import logging
from PIL import Image

from wsol_jax import boxes, devices
from wsol_jax.data.depth import Levels
from wsol_jax.data.drawing import cut
from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError
from wsol_jax.methods import method as methods
from wsol_jax.methods.method import Variables
from wsol_jax.model.photos import Photo, is_one, pixels
from wsol_jax.model.prediction import Prediction, unreadable
from wsol_jax.paths import to_path
from wsol_jax.predictions.predictions import top_classes
from wsol_jax.progress import track
from wsol_jax.pseudo.confidence import box_confidence
from wsol_jax.pseudo.many_boxes import scored_boxes
from wsol_jax.stages.networks import Ready
from wsol_jax.threads import in_threads
from wsol_jax.training.predict import predict_batch

BOXES, CLASSES, MAPS = "boxes", "classes", "maps"
"""The tasks of a network in a model."""


class View(NamedTuple):
    """The part of a photo that a network sees: normalised xyxy, and the side of the square it is resized to, pixels."""

    window: tuple[float, float, float, float]
    size: int


class Cut(NamedTuple):
    """A photo's size (width, height), and what the networks see of it, uint8 [size, size, 3]; or why there is none."""

    size: tuple[int, int]
    views: dict[View, np.ndarray]
    error: str = ""


class Model:
    """The networks of a run, or pretrained ones, ready for any photos; `wsol_jax.load` returns it.

    Attributes:
        title: the method, for people.
        classes: the names of the classes, in the order of their numbers.
        networks: task ('boxes', 'classes', 'maps') -> its network; one network may have two tasks.
        box_threshold: of a map's maximum; the box is that of the largest region above it.
        levels: kind of samples of more than 8 bits -> black and white, see `depth.levels_of_dataset`.
    """

    def __init__(
        self,
        title: str,
        classes: Sequence[str],
        networks: Mapping[str, Ready],
        box_threshold: float,
        levels: Mapping[str, Levels],
    ):
        self.title, self.classes, self.box_threshold, self.levels = title, tuple(classes), box_threshold, dict(levels)
        self._mesh = devices.make_mesh()
        distinct = {id(ready): ready for ready in networks.values()}
        placed = {
            key: ready._replace(variables=devices.replicate(_known(ready), self._mesh))
            for key, ready in distinct.items()
        }
        self.networks = {task: placed[id(ready)] for task, ready in networks.items()}

    def __repr__(self) -> str:
        tasks = ", ".join(f"{task} at {ready.size} pixels" for task, ready in self.networks.items())
        return f"Model({self.title}: {tasks}; {len(self.classes)} classes)"

    def predict(
        self, photos: Photo | Sequence[Photo], batch_size: int = 32, labels: object = None
    ) -> Prediction | list[Prediction]:
        """Return the prediction for each photo.

        Networks are compiled once for each size of a batch; fewer photos than `batch_size` are padded to a power of
        two, the last batch of more to `batch_size`.

        Args:
            photos: a path, PIL image or uint8 array [h, w, 3]; or several.
            batch_size: at most so many photos pass at once, over all devices.
            labels: of score maps, the class whose map is shown: its name or number; for several photos a sequence,
                None in it for the most probable class. None: the most probable class of each.

        Returns:
            One prediction for one photo, a list for several, in their order. Of several, one that cannot be read has
            an `error` and no boxes; such photos are counted in the log.

        Raises:
            InputError: the only photo cannot be read; there is no such class; labels without score maps.
        """
        if is_one(photos):
            (prediction,) = self.stream([photos], batch_size, [labels])
            if prediction.error:
                raise InputError(prediction.error)
            return prediction
        listed = list(photos)
        predictions = list(self.stream(listed, batch_size, labels))
        if errors := [one.error for one in predictions if one.error]:
            logging.warning("%d of %d photos cannot be read; the first: %s", len(errors), len(listed), errors[0])
        return predictions

    def stream(
        self, photos: Sequence[Photo], batch_size: int = 32, labels: Sequence | None = None
    ) -> Iterator[Prediction]:
        """Yield the prediction for each photo, as `predict` returns it for several; no map is held by the model.

        While the devices compute two batches, the next one is read.

        Args:
            photos: paths, PIL images or uint8 arrays [h, w, 3].
            batch_size: as for `predict`.
            labels: as for `predict`.

        Raises:
            InputError: there is no such class; labels without score maps.
        """
        labels = [None] * len(photos) if labels is None else list(labels)
        if len(labels) != len(photos):
            raise InputError(f"labels: {len(labels)} for {len(photos)} photos; expected one for each")
        rows, numbers = self._rows(len(photos), batch_size), [self._number(label) for label in labels]
        for cuts, computed in devices.ahead(self._begun(photos, numbers, rows)):
            yield from self._finish(cuts, computed)

    def draw(self, photo: Photo, prediction: Prediction | None = None) -> Image.Image:
        """Return a picture of a photo with its heat map, box and class.

        Args:
            photo: a path, PIL image or uint8 array [h, w, 3].
            prediction: for this photo; None: it is computed.
        """
        from wsol_jax.model.picture import draw  # matplotlib is imported with it

        image = self.pixels(photo)
        return draw(image, self.predict(image) if prediction is None else prediction)

    def export(self, file: str | Path, platforms: Sequence[str] = ("cpu", "cuda", "tpu")) -> None:
        """Write the model as a `jax.export` artifact, and FILE.json next to it; see `export.export`.

        Args:
            file: any name.
            platforms: that the artifact is for.

        Raises:
            InputError: there is no such platform.
        """
        from wsol_jax.model.export import export

        export(self, to_path(file), platforms)

    def pixels(self, photo: Photo, name: str = "photo") -> np.ndarray:
        """Return the pixels of a photo as the networks see them, uint8 [h, w, 3], RGB, upright.

        Args:
            photo: a path, PIL image or uint8 array [h, w, 3].
            name: of a photo that is no file, for errors.

        Raises:
            InputError: it cannot be read.
        """
        return pixels(photo, name, self.levels)

    def views(self) -> list[View]:
        """Return the different views of a photo that the networks have."""
        return list(dict.fromkeys(view_of(ready) for ready in self.networks.values()))

    def _begun(
        self, photos: Sequence[Photo], numbers: Sequence[int], rows: int
    ) -> Iterator[tuple[list[Cut], dict[str, methods.Prediction]]]:
        """Yield the photos of each batch with their predictions, which are not waited for."""
        starts = range(0, len(photos), rows)
        for start in track(starts, len(photos), self.title, weight=rows) if len(photos) > rows else starts:
            chunk = range(start, min(start + rows, len(photos)))
            cuts = list(in_threads(lambda i: self._cut(photos[i], i), chunk))
            yield cuts, self._compute(cuts, [numbers[i] for i in chunk], rows)

    def _rows(self, photos: int, batch_size: int) -> int:
        """The rows of a batch: a power of two for few photos, and a multiple of the devices."""
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; expected a positive number")
        rows = min(batch_size, 1 << max(photos - 1, 0).bit_length())
        return -(-rows // self._mesh.size) * self._mesh.size

    def _number(self, label: str | int | None) -> int:
        if label is None:
            return -1
        if MAPS not in self.networks:
            raise InputError("labels choose the class of a score map, and this model has none; expected None")
        if isinstance(label, str) and label in self.classes:
            return self.classes.index(label)
        is_number = isinstance(label, int | np.integer) and not isinstance(label, bool)
        if is_number and 0 <= label < len(self.classes):
            return int(label)
        raise InputError(f"labels: there is no class {label!r}; expected one of {len(self.classes)} names, or a number")

    def _cut(self, photo: Photo, i: int) -> Cut:
        try:
            image = self.pixels(photo, f"photo {i}")
        except InputError as error:
            return Cut((0, 0), {}, str(error))
        views = {view: cut(image, np.array(view.window), view.size) for view in self.views()}
        return Cut(image.shape[1::-1], views)

    def _compute(self, cuts: Sequence[Cut], labels: list[int], rows: int) -> dict[str, methods.Prediction]:
        """Task -> the prediction of its network for a batch, not waited for."""
        label = np.full(rows, -1, np.int32)
        label[: len(labels)] = labels
        done: dict[int, methods.Prediction] = {}
        for ready in self.networks.values():
            if id(ready) not in done:
                batch = devices.put(_batch(cuts, view_of(ready), label), self._mesh)
                done[id(ready)] = predict_batch(ready.method.predict, self._mesh, True, ready.variables, batch)
        return {task: done[id(ready)] for task, ready in self.networks.items()}

    def _finish(self, cuts: Sequence[Cut], computed: dict[str, methods.Prediction]) -> Iterator[Prediction]:
        of_task = {task: jax.tree.map(devices.fetch, one) for task, one in computed.items()}
        top = top_classes(of_task[CLASSES].logits) if CLASSES in of_task else None
        confidence = box_confidence(of_task[BOXES]) if BOXES in of_task else None
        of_maps = scored_boxes(of_task[MAPS].map[: len(cuts)], self.box_threshold) if MAPS in of_task else None
        for row, one in enumerate(cuts):
            if one.error:
                yield unreadable(one.error)
                continue
            box, score, activation = np.zeros((0, 4)), np.zeros(0, np.float32), None
            if BOXES in of_task:
                box = of_task[BOXES].box[row : row + 1].astype(np.float64)
                score = np.full(1, np.nan, np.float32) if confidence is None else confidence[row : row + 1]
                activation = None if of_task[BOXES].map is None else of_task[BOXES].map[row]
            if of_maps is not None:
                activation = of_task[MAPS].map[row]
                box, score = of_maps.box[row : row + 1], of_maps.score[row : row + 1].astype(np.float32)
            classes = {} if top is None else self._named(top.top5_class[row], top.top5_prob[row])
            yield Prediction(
                size=one.size,
                boxes=boxes.scale(box, np.array(one.size)),
                scores=score,
                activation=activation,
                **classes,
            )

    def _named(self, top5_class: np.ndarray, top5_prob: np.ndarray) -> dict:
        top5 = tuple((self.classes[c], float(p)) for c, p in zip(top5_class, top5_prob, strict=True))
        return {"label": top5[0][0], "label_score": top5[0][1], "top5": top5}


def _known(ready: Ready) -> Variables:
    """The variables without the memory of a training, such as DA-WSOL's anchors, which no box or map depends on."""
    return {name: values for name, values in ready.variables.items() if name != "memory"}


def view_of(ready: Ready) -> View:
    """Return the part of a photo that a network sees."""
    return View(tuple(ready.window.tolist()), ready.size)


def _batch(cuts: Sequence[Cut], view: View, label: np.ndarray) -> Batch:
    """The batch of one view; rows without a photo are black."""
    rows = len(label)
    image = np.zeros((rows, view.size, view.size, 3), np.uint8)
    for row, one in enumerate(cuts):
        if not one.error:
            image[row] = one.views[view]
    return Batch(
        image=image,
        window=np.tile(np.array(view.window, np.float32), (rows, 1)),
        flip=np.zeros(rows, bool),
        label=label,
        target=np.zeros((rows, 4), np.float32),
        index=np.arange(rows, dtype=np.int32),
        valid=np.arange(rows) < len(cuts),
    )
