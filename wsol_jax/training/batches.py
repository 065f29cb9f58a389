"""Training batches: positions of the endless stream, planned with numpy and rendered by threads."""

from collections.abc import Iterator, Sequence

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from wsol_jax import devices
from wsol_jax.data import plan
from wsol_jax.data.records import Dataset, Record
from wsol_jax.data.render import Batch, render
from wsol_jax.methods.networks import input_size, resize_size


def training_batches(
    dataset: Dataset,
    records: Sequence[Record],
    boxes: np.ndarray | None,
    *,
    config: ConfigDict,
    seed: int,
    steps: range,
    mesh: Mesh,
) -> Iterator[Batch]:
    """Yield this process's share of the batches of `steps`; photos and crops do not depend on the number of processes.

    Args:
        dataset: reads the pixels.
        records: n training photos.
        boxes: [n, 4], the boxes to learn, normalised xyxy; None where no box is learned.
        config: the keys of a training, see `stages.training`.
        seed: of the run.
        steps: consecutive steps.
        mesh: the devices.
    """
    rows = devices.local_slice(config.batch_size, mesh)
    positions = plan.training_positions(steps.start, steps.stop, config.batch_size, rows)
    sizes = [record.size for record in records]
    to_meet = np.tile(plan.WHOLE, (len(records), 1)) if boxes is None else boxes
    square = input_size(config), resize_size(config)
    views = plan.training_views(seed, sizes, to_meet, config.augment, square, positions)

    each_size = np.array(sizes)

    def target(views: plan.View) -> np.ndarray:
        return plan.target_box(boxes[views.index], each_size[views.index], views)

    share = rows.stop - rows.start
    return render(dataset.read, records, views, input_size(config), share, None if boxes is None else target)
