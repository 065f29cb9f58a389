"""The cost of drawing score maps relative to CAM's prediction, at some stages of a network with random weights.

    python benchmarks/drawings.py --arch=resnet50_v1 --stages=layer4,layer3

Operations are those that XLA counts before anything is run; with --repeats=0 nothing is. Then all drawings take turns;
the processor time of the process is measured, so that other work does not count. Score-CAM has a forward pass for each
channel of a stage and is left out.
"""

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

ARCH = flags.DEFINE_string("arch", "resnet50_v1", "A name in wsol_jax.backbones.BACKBONES.")
STAGES = flags.DEFINE_list("stages", ["layer4", "layer3"], "Of that network.")
BATCH = flags.DEFINE_integer("batch", 2, "Photos in a batch.")
REPEATS = flags.DEFINE_integer("repeats", 5, "Of each measurement.")

CLASSES, SIZE, STRIDE = 200, 224, 16


def main(_: list[str]) -> None:
    """Run the benchmark."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    import jax

    from configs.cam_cub import get_config
    from wsol_jax.backbones import initialise
    from wsol_jax.methods.drawings import DRAWINGS, Drawing
    from wsol_jax.model.export import batch_of
    from wsol_jax.model.model import View
    from wsol_jax.stages.networks import make_method

    config = get_config().train.unlock()
    config.update(arch=ARCH.value, size=SIZE)
    config.arch_kwargs.stride = STRIDE
    names = [name for name in DRAWINGS if name not in ("cam", "score_cam")]
    drawings = [Drawing()] + [Drawing(name, stage) for stage in STAGES.value for name in names]
    drawings += [Drawing("bagcam", stage, True) for stage in STAGES.value]
    methods = {drawing: make_method("train", config, CLASSES, drawing) for drawing in drawings}
    variables = initialise(jax.random.key(0), methods[Drawing()].module, (1, SIZE, SIZE, 3))
    image = np.random.default_rng(0).integers(0, 256, (BATCH.value, SIZE, SIZE, 3), np.uint8)
    predict = {drawing: jax.jit(method.predict) for drawing, method in methods.items()}
    batch = batch_of(image, View((0, 0, 1, 1), SIZE))
    counts = {drawing: predict[drawing].lower(variables, batch).cost_analysis()["flops"] for drawing in drawings}
    for drawing, count in counts.items():
        print(f"{title(drawing)}: {count / counts[Drawing()]:.2f} times the operations of CAM's prediction")
    if not REPEATS.value:
        return
    taken = {drawing: [] for drawing in drawings}
    for _ in range(1 + REPEATS.value):
        for drawing, times in taken.items():
            start = time.process_time()
            jax.block_until_ready(predict[drawing](variables, batch))
            times.append(time.process_time() - start)
    own = np.array(taken[Drawing()][1:])  # the first one compiles
    for drawing, times in taken.items():
        ratio = statistics.median(np.array(times[1:]) / own)
        print(f"{title(drawing)}: {ratio:.2f} times the processor time of CAM's prediction")


def title(drawing: Any) -> str:
    """Return a drawing in words."""
    return f"{drawing.maps} {drawing.stage}{' guided' * drawing.guided}".strip()


if __name__ == "__main__":
    app.run(main)
