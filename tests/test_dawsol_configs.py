"""The configurations of DA-WSOL have the values of its published scripts, and add nothing to CAM's but its loss."""

import experiments
import pytest

SCRIPTS = {  # rate, epochs, epochs between divisions, weight decay, lambda_1, lambda_2, stride, start epoch
    "dawsol_cub": ("resnet50", 1e-3, 50, 30, 1e-4, 0.3, 2, 8, 0),
    "dawsol_cub_inception": ("inception_v3", 2e-3, 50, 30, 5e-4, 1.4, 4, 8, 5),
    "dawsol_ilsvrc": ("resnet50", 1e-5, 10, 3, 1e-4, 0.3, 3, 8, 0),
    "dawsol_ilsvrc_inception": ("inception_v3", 1e-3, 10, 3, 5e-4, 0.1, 0.3, 8, 0),
    "dawsol_openimages": ("resnet50", 1e-3, 10, 3, 1e-4, 0.2, 3, 16, 0),
    "dawsol_openimages_inception": ("inception_v3", 1e-3, 10, 3, 5e-4, 0.1, 0.5, 8, 0),
}
OF_CAM = {
    "dawsol_cub": "cam_cub",
    "dawsol_cub_inception": "cam_cub_inception",
    "dawsol_ilsvrc": "cam_ilsvrc",
    "dawsol_ilsvrc_inception": "cam_ilsvrc",
    "dawsol_openimages": "cam_openimages",
    "dawsol_openimages_inception": "cam_openimages",
    "dawsol_butterflies": "cam_butterflies",
    "dawsol_birds25": "cam_birds25",
    "two_stage": "cam_cub",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_its_values_are_those_of_the_published_script(name):
    train = experiments.load(name).train
    keys = train.dawsol
    rates = (train.arch, train.learning_rate, train.epochs, train.decay_every, train.weight_decay)
    assert (*rates, keys.domain_weight, keys.universum_weight, train.arch_kwargs.stride, keys.start_epoch) == (
        SCRIPTS[name]
    )
    assert (train.batch_size, train.momentum, train.nesterov, train.new_rate) == (32, 0.9, True, 10)
    assert (train.decay_early, train.decay_factor, train.augment, train.size in (0, 224)) == (1, 10, "wsol", True)
    assert (keys.use, keys.domain_loss, keys.universum, keys.samples) == (True, "mmd_linear", "mean", 32)
    assert (keys.assigner, keys.anchor_update, keys.anchor_offset, keys.gamma) == (True, "fake", 0, 1)


@pytest.mark.parametrize("name", OF_CAM)
def test_what_is_not_trained_is_as_with_cam(name):
    ours, cam = experiments.load(name).to_dict(), experiments.load(OF_CAM[name]).to_dict()
    assert ours.pop("train")["dawsol"]["use"] and not cam.pop("train")["dawsol"]["use"]
    if name == "two_stage":
        assert ours["predict"].pop("classes_from") and not cam["predict"].pop("classes_from")
    assert ours == cam


@pytest.mark.parametrize("name, samples", [("dawsol_cub", 32), ("dawsol_butterflies", 8), ("dawsol_birds25", 8)])
def test_its_loss_is_all_that_differs_from_cam(name, samples):
    ours, cam = experiments.load(name).train.to_dict(), experiments.load(OF_CAM[name]).train.to_dict()
    keys = {"use": True, "domain_weight": 0.3, "universum_weight": 2, "samples": samples}
    assert ours.pop("dawsol") == cam.pop("dawsol") | keys
    assert ours == cam
