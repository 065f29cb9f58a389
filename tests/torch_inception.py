"""InceptionV3 in plain numpy, layer by layer with torch's rules for borders: the reference at any size."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def maps(state: dict[str, np.ndarray], image: np.ndarray, stride: int) -> dict[str, np.ndarray]:
    """The maps [1, d, h, w] of some stages, for an image [1, 3, h, w].

    Args:
        state: a state dict with torchvision's names (wsolevaluation's where stride < 32).
        image: float64.
        stride: 32 is torchvision's network, 16 and 8 are wsolevaluation's with 14x14 and 28x28 cells for 224x224.
    """

    def conv(x, name, stride=1, padding=None):
        y = correlate(x, state[f"{name}.conv.weight"], stride, padding)
        scale = state[f"{name}.bn.weight"] / np.sqrt(state[f"{name}.bn.running_var"] + 1e-3)
        y = (y - channels(state[f"{name}.bn.running_mean"])) * channels(scale) + channels(state[f"{name}.bn.bias"])
        return np.maximum(y, 0)

    def chain(x, *names):
        for name in names:
            x = conv(x, name)
        return x

    def branches(x, block, *longer):
        """A block that keeps the size: 1x1, chains (name, number of convolutions), mean and 1x1."""
        chains = [chain(x, *(f"{block}.{name}_{i + 1}" for i in range(n))) for name, n in longer]
        pooled = conv(pool(x, np.sum, 1, 1) / 9, f"{block}.branch_pool")
        return np.concatenate([conv(x, f"{block}.branch1x1"), *chains, pooled], 1)

    def mixed_6a(x):
        last = dict(stride=2, padding=0) if stride == 32 else dict(stride=1, padding=1)
        double = conv(chain(x, "Mixed_6a.branch3x3dbl_1", "Mixed_6a.branch3x3dbl_2"), "Mixed_6a.branch3x3dbl_3", **last)
        return np.concatenate([conv(x, "Mixed_6a.branch3x3", **last), double, pool(x, np.max, **last)], 1)

    def mixed_7a(x):
        short = conv(conv(x, "Mixed_7a.branch3x3_1"), "Mixed_7a.branch3x3_2", 2, 0)
        long = chain(x, *(f"Mixed_7a.branch7x7x3_{i}" for i in (1, 2, 3)))
        return np.concatenate([short, conv(long, "Mixed_7a.branch7x7x3_4", 2, 0), pool(x, np.max, 2, 0)], 1)

    def mixed_7(x, block):
        def fork(x, name):
            return np.concatenate([conv(x, f"{block}.{name}{letter}") for letter in "ab"], 1)

        short = fork(conv(x, f"{block}.branch3x3_1"), "branch3x3_2")
        long = fork(chain(x, f"{block}.branch3x3dbl_1", f"{block}.branch3x3dbl_2"), "branch3x3dbl_3")
        pooled = conv(pool(x, np.sum, 1, 1) / 9, f"{block}.branch_pool")
        return np.concatenate([conv(x, f"{block}.branch1x1"), short, long, pooled], 1)

    whole = stride == 32
    pooling = dict(stride=2, padding=0) if whole else dict(stride=2, padding=1, ceil=True)
    out = {}
    x = conv(image, "Conv2d_1a_3x3", 2, 0 if whole else 1)
    x = conv(conv(x, "Conv2d_2a_3x3", 1, 0), "Conv2d_2b_3x3", 1, 1)
    x = conv(conv(pool(x, np.max, **pooling), "Conv2d_3b_1x1"), "Conv2d_4a_3x3", 1, 0)
    x = pool(x, np.max, **pooling)
    for block in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        x = out[block] = branches(x, block, ("branch5x5", 2), ("branch3x3dbl", 3))
    x = out["Mixed_6a"] = mixed_6a(pool(x, np.max, 2, 0, ceil=True) if stride == 16 else x)
    for block in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        x = out[block] = branches(x, block, ("branch7x7", 3), ("branch7x7dbl", 5))
    if whole:
        x = out["Mixed_7a"] = mixed_7a(x)
        x = out["Mixed_7b"] = mixed_7(x, "Mixed_7b")
        out["Mixed_7c"] = mixed_7(x, "Mixed_7c")
        return out
    for stage in ("SPG_A3_1b", "SPG_A3_2b"):
        y = correlate(x, state[f"{stage}.0.weight"], 1, 1) + channels(state[f"{stage}.0.bias"])
        x = out[stage] = np.maximum(y, 0)
    return out


def channels(values: np.ndarray) -> np.ndarray:
    return values.reshape(1, -1, 1, 1)


def correlate(x: np.ndarray, kernel: np.ndarray, stride: int, padding: int | None) -> np.ndarray:
    """nn.Conv2d without its bias; a padding of None is half of the kernel, which keeps the size."""
    high, wide = (k // 2 if padding is None else padding for k in kernel.shape[2:])
    x = np.pad(x, ((0, 0), (0, 0), (high, high), (wide, wide)))
    windows = sliding_window_view(x, kernel.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("bchwij,ocij->bohw", windows, kernel, optimize=True)


def pool(x: np.ndarray, reduce: np.ufunc, stride: int, padding: int, ceil: bool = False) -> np.ndarray:
    """A window of 3x3, as F.max_pool2d(ceil_mode) counts and places its cells."""

    def windows(n):
        cells = (-(-(n + 2 * padding - 3) // stride) if ceil else (n + 2 * padding - 3) // stride) + 1
        if ceil and (cells - 1) * stride >= n + padding:
            cells -= 1  # a window must begin inside, or in the padding before
        starts = [i * stride - padding for i in range(cells)]
        return [slice(max(start, 0), start + 3) for start in starts]

    rows = [
        np.stack([reduce(x[:, :, i, j], axis=(2, 3)) for j in windows(x.shape[3])], -1) for i in windows(x.shape[2])
    ]
    return np.stack(rows, 2)
