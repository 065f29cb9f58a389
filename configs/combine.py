r"""Any localizers with any classifiers, in one table, as Table 4 of the PSOL paper.

    python launch.py --config=configs/combine.py --workdir=W --config.data.name=cub --config.data.dir=CUB_200_2011 \
        --config.combine.boxes=sep=RUN1,joint=RUN2,ddt=RUN1/pseudo_boxes/boxes_test.parquet \
        --config.combine.classes=resnet50=RUN1,other=FILE.parquet,both=RUN1+RUN2

W/combine/table.md and table.parquet have a row for every localizer with every classifier. A place is the workdir of a
run of any method, or a Parquet file with the columns of predictions/test.parquet. Takes seconds.
"""

from ml_collections import ConfigDict

from configs.base import get_config as base


def get_config() -> ConfigDict:
    """Return a configuration that only writes the table."""
    config = base()
    config.stages = "combine"
    return config
