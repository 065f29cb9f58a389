r"""DA-WSOL in two stages ("Ours*" in its paper): its maps, with the classes of a classifier that was trained alone.

    python launch.py --config=configs/psol_cub.py --workdir=RUN --config.data.dir=CUB_200_2011 \
        --config.stages=classifier,predict
    python launch.py --config=configs/two_stage.py --workdir=W --config.data.dir=CUB_200_2011 \
        --config.train.weights=resnet50.pth --config.predict.classes_from=RUN/predictions/test.parquet

The loss costs classification accuracy. In two stages the paper (Table 1) has a top1_loc_map of 66.65 on CUB with
ResNet-50, in one stage 62.40, and all other numbers unchanged; it does not name the classifier. top1_cls, top5_cls,
top1_loc, top5_loc and top1_loc_map are those of the file's classes; any run's predictions/test.parquet is accepted.

In a W where configs/dawsol_cub.py is finished, nothing is trained again: --config.stages=predict,evaluate,report
--config.overwrite=True predicts anew. For other photos the last key is added to their own configuration, e.g.
--config=configs/dawsol_ilsvrc.py (in the paper 55.84, in one stage 43.26). 50 epochs: for a GPU or TPU.
"""

from ml_collections import ConfigDict

from configs.dawsol_cub import get_config as dawsol_cub


def get_config() -> ConfigDict:
    """Return CUB's configuration of DA-WSOL, which does not start without a file of classes."""
    config = dawsol_cub()
    config.predict.classes_from = "RUN/predictions/test.parquet"
    return config
