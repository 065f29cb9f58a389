r"""DA-WSOL's ablation on butterflies (its Tables 3 and 4): the effect and the cost of each of its parts.

    python launch.py --config=configs/dawsol_ablation.py --workdir=W --config.data.dir=../shared/data/butterflies

Each row of W/table.md is a run of its own in W/ROW, one after the other; an ablation that was cut off continues. At the
end all of them are timed in turns. Here these are eight runs of configs/dawsol_butterflies.py, of some ten minutes each
on two CPU cores; --config.ablation.losses=mmd leaves out three. Any other configuration of DA-WSOL becomes an ablation
with --config.stages=ablation. The paper's, for a GPU or TPU:

    python launch.py --config=configs/dawsol_openimages.py --config.stages=ablation --workdir=W \
        --config.data.dir=OpenImages --config.train.weights=resnet50.pth

It has (Table 3), on OpenImages with ResNet-50:

    piou, pxap                          MMD            DANN
    cam                    L_c          42.95, 58.19   42.95, 58.19
    mmd_plain, dann_plain  + L_d        42.88, 57.39   43.29, 58.19
    mmd_tsa, dann_tsa      + L_d + TSA  43.24, 58.10   43.67, 58.77
    universum              + L_u + TSA  45.17, 61.50   45.17, 61.50
    mmd, dann              all          49.68, 65.42   46.71, 63.26

In its Table 4 the training of a photo takes 1.82 times as long as CAM's with MMD and 1.40 times with DANN, its test
1.02 and 1.01 times. That table's other methods are --config.train.method=has, cutmix or adl, each in another workdir.
"""

from ml_collections import ConfigDict

from configs.dawsol_butterflies import get_config as dawsol_butterflies


def get_config() -> ConfigDict:
    """Return the ablation of configs/dawsol_butterflies.py."""
    config = dawsol_butterflies()
    config.stages = "ablation"
    return config
