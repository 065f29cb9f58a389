"""The two orders of DA-WSOL's assigner compared: a batch clustered from the same anchors, or one photo after another.

    python benchmarks/anchor_orders.py --run=WORKDIR --data=PHOTOS --batches=16,32

The features are those of a finished score-map run, of all its training photos, seen whole, in a random order. Each
assigner keeps its own anchors. Prints, for each epoch and size of a batch, the share of pixels in another set, the
distance between the class anchors (relative to their length), and the share of photos with enough pixels for the domain
loss.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

RUN = flags.DEFINE_string("run", None, "The workdir of a run with the stage `train`.", required=True)
DATA = flags.DEFINE_string("data", "", "The root of its photos; as in the run if not given.")
BATCHES = flags.DEFINE_list("batches", ["16", "32"], "Photos in a batch.")
EPOCHS = flags.DEFINE_integer("epochs", 3, "The number of times that each photo is used.")


def main(_: list[str]) -> None:
    """Run the benchmark."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from wsol_jax.methods.dawsol.target_samples import assign, assign_in_turn, no_anchors, updated

    features, label, classes = read_features(Path(RUN.value))
    print(f"{len(features)} photos, {features.shape[1]} pixels of {features.shape[2]} channels", flush=True)

    def together(anchors: Any, pixels: Any, label: Any) -> tuple[Any, Any]:
        assigned = assign(pixels, label, anchors)
        return assigned, updated(anchors, pixels, label, assigned, "fake")

    def in_turn(anchors: Any, pixels: Any, label: Any) -> tuple[Any, Any]:
        return assign_in_turn(pixels, label, anchors, "fake")

    for size in map(int, BATCHES.value):
        print(f"  batches of {size}   other set   anchors apart   kept in turn   kept together", flush=True)
        anchors = [no_anchors(classes, features.shape[2])] * 2
        for epoch in range(EPOCHS.value):
            order = np.random.default_rng(epoch).permutation(len(features))
            differ, kept = [], []
            for rows in batches(order, size):
                results = [
                    run(a, features[rows], label[rows]) for run, a in zip((in_turn, together), anchors, strict=True)
                ]
                anchors = [after for _, after in results]
                sets = [np.asarray(assigned.assignment) for assigned, _ in results]
                differ.append((sets[0] != sets[1]).mean())
                kept.append([(((s == 1).sum(1) >= 31) & ((s == 2).sum(1) >= 32)).mean() for s in sets])
            a, b = (np.asarray(each.of_class) for each in anchors)
            apart = np.mean(np.linalg.norm(a - b, axis=1) / np.linalg.norm(a, axis=1))
            columns = f"{100 * np.mean(differ):8.2f} %{100 * apart:14.2f} %"
            columns += "".join(f"{100 * share:13.1f} %" for share in np.mean(kept, 0))
            print(f"    epoch {epoch + 1}    {columns}", flush=True)


def batches(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield the rows of each full batch."""
    for start in range(0, len(order) - size + 1, size):
        yield order[start : start + size]


def read_features(workdir: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the last map of the training photos, float32 [n, pixels, d], their labels, and the number of classes."""
    from ml_collections import ConfigDict

    from wsol_jax import devices
    from wsol_jax.data import load_dataset
    from wsol_jax.data.plan import WHOLE
    from wsol_jax.methods.networks import input_size
    from wsol_jax.stages.networks import make_method, other_run
    from wsol_jax.training.checkpoints import load_variables
    from wsol_jax.training.predict import predict_photos

    config = ConfigDict(json.loads((workdir / "config.json").read_text()))
    config.data.dir = DATA.value or config.data.dir
    dataset, trained = load_dataset(config.data, config.seed), other_run(workdir, "train", "run")
    method = make_method("train", trained.config, len(dataset.classes))
    stage = list(method.module.backbone.stages)[-1]

    def features(variables: Any, batch: Any, label: Any) -> Any:
        return method.network(variables, method.prepare(batch.image), None, None, False)[0].stages[stage]

    records, size = dataset.splits["train"], input_size(trained.config)
    maps = predict_photos(
        method._replace(predict=features),
        load_variables(trained.checkpoints),
        dataset,
        records,
        window=WHOLE,
        size=size,
        batch_size=16,
        name="features",
        mesh=devices.make_mesh(),
    )
    label = np.array([record.label for record in records], np.int32)
    return np.asarray(maps).reshape(len(records), -1, maps.shape[-1]), label, len(dataset.classes)


if __name__ == "__main__":
    app.run(main)
