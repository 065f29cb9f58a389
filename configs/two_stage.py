r"""DA-WSOL in two stages ("Ours*" in its paper): its maps, with the classes of a classifier that was trained alone.

    python launch.py --config=configs/psol_cub.py --workdir=RUN --config.data.dir=CUB_200_2011 \
        --config.stages=classifier,predict
    python launch.py --config=configs/two_stage.py --workdir=W --config.data.dir=CUB_200_2011 \
        --config.train.weights=resnet50.pth --config.predict.classes_from=RUN/predictions/test.parquet

The loss costs classification accuracy. The paper (Table 1) has a top1_loc_map of 66.65 on CUB with ResNet-50 so, of
62.40 in one stage, and all other numbers the same; which classifier it took, it does not tell. top1_cls, top5_cls,
top1_loc, top5_loc and top1_loc_map are those of the file's classes; any run's predictions/test.parquet will do.

A W where configs/dawsol_cub.py is finished is not trained again, only its maps are drawn anew, with
--config.stages=predict,evaluate,report --config.overwrite=True. For other photos the last key goes with their own
configuration, e.g. --config=configs/dawsol_ilsvrc.py (in the paper 55.84, in one stage 43.26). For a GPU or TPU.
"""

from ml_collections import ConfigDict

from configs.dawsol_cub import get_config as dawsol_cub


def get_config() -> ConfigDict:
    """CUB's configuration of DA-WSOL, which does not start without a file of classes."""
    config = dawsol_cub()
    config.predict.classes_from = "RUN/predictions/test.parquet"
    return config
