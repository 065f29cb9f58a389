"""PSOL's localizer (-Sep): one class-agnostic box for each photo, learned from pseudo boxes."""

from ml_collections import ConfigDict

from wsol_jax import boxes
from wsol_jax.backbones import BACKBONES, build
from wsol_jax.losses.box import squared_error
from wsol_jax.methods.method import Method, Outputs, Prediction, unperturbed
from wsol_jax.methods.networks import apply, parameter_group, preparation


def localizer(config: ConfigDict) -> Method:
    """A box head in place of a network's last layer, taught by the mean squared error of left, top, width, height.

    Args:
        config: the keys of `localizer` in configs/base.py.
    """
    network = build(config.arch, "box", config.dtype, config.freeze, **config.arch_kwargs)
    prepare = preparation(BACKBONES[config.arch], config.dtype)

    def forward(variables, image, label, key, train):
        (stages, box), batch_stats = apply(network, variables, image, key, train)
        return Outputs(stages, {}, {}, box), batch_stats

    def objective(outputs, label, batch, memory, key, progress):
        error = squared_error(outputs.box, boxes.xyxy_to_xywh(batch.target))
        overlap = boxes.iou(boxes.xywh_to_xyxy(outputs.box), batch.target).mean()
        return config.box_weight * error, memory, {"iou": overlap}

    def predict(variables, batch, label=None):
        outputs, _ = forward(variables, prepare(batch.image), None, None, False)
        seen = boxes.mirror(boxes.xywh_to_xyxy(outputs.box), batch.flip)
        return Prediction(box=boxes.clip(boxes.out_of_window(seen, batch.window)))

    group = parameter_group(network, new_head=True)
    return Method(network, prepare, unperturbed, forward, objective, (), predict, group)
