"""PSOL's localizer (-Sep): one class-agnostic box for each photo, learned from pseudo boxes."""

from ml_collections import ConfigDict

from wsol_jax import boxes
from wsol_jax.backbones import BACKBONES
from wsol_jax.losses.box import squared_error
from wsol_jax.methods.method import Method, Outputs, Prediction, unperturbed
from wsol_jax.methods.networks import apply, box_in_photo, make_network, parameter_group, preparation, with_auxiliary


def localizer(config: ConfigDict) -> Method:
    """A box head in place of a network's last layer, taught by the mean squared error of left, top, width, height.

    Args:
        config: the keys of `localizer` in configs/base.py.
    """
    network = make_network(config, "box")
    prepare = preparation(BACKBONES[config.arch], config.dtype)

    def forward(variables, image, label, key, train):
        out, batch_stats = apply(network, variables, image, key, train)
        return Outputs(out.maps, {}, {}, out.head, out.auxiliary), batch_stats

    def objective(outputs, label, batch, memory, key, progress):
        target = boxes.xyxy_to_xywh(batch.target)
        error = with_auxiliary(lambda box: squared_error(box, target), outputs.box, outputs.auxiliary)
        overlap = boxes.iou(boxes.xywh_to_xyxy(outputs.box), batch.target).mean()
        return config.box_weight * error, memory, {"iou": overlap}

    def predict(variables, batch, label=None):
        outputs, _ = forward(variables, prepare(batch.image), None, None, False)
        return Prediction(box=box_in_photo(outputs.box, batch))

    group = parameter_group(network, True, config.trainable)
    return Method(network, prepare, unperturbed, forward, objective, (), predict, group)
