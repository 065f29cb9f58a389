"""Time the backbones on one CPU core against the same networks in PyTorch: a forward pass and a training step.

    python benchmarks/backbones.py --arch=vgg16,resnet50 --batch=8
    python benchmarks/backbones.py --arch=efficientnet_lite0 --size=640 --tasks=forward

Needs torch, torchvision and timm, which the project itself does not. Each framework runs in a process of its own with
one thread, both on the same core, and they take turns; torch runs eagerly on channels-last tensors. Weights are random,
numbers float32, photos as large as the backbone was trained with. A step is a forward pass with the batch's statistics,
cross-entropy, a backward pass, and SGD with momentum; both change parameters and momentum in place. Times are those of
the process on the processor, so that other work on the core counts for neither. It prints one line for each backbone:
medians in milliseconds, and the median of the ratios of each turn. The first step of a deep backbone compiles for
minutes.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from absl import app, flags

ARCH = flags.DEFINE_list(
    "arch",
    ["vgg16", "resnet50", "inception_v3", "densenet161", "efficientnet_b0", "dpn68"],
    "Names in wsol_jax.backbones.BACKBONES that torchvision or timm have.",
)
BATCH = flags.DEFINE_integer("batch", 8, "Photos in a batch.")
SIZE = flags.DEFINE_integer("size", 0, "Side of the photos, pixels; 0: as the backbone was trained with.")
TASKS = flags.DEFINE_list("tasks", ["forward", "step"], "Of both.")
REPEATS = flags.DEFINE_integer("repeats", 5, "Of each measurement.")
CORE = flags.DEFINE_integer("core", None, "The core to run on; any one if not given.")
WORKER = flags.DEFINE_enum("worker", "", ["", "jax", "torch"], "Be one of the two processes; for its own use.")

CLASSES = 1000
TIMM = {"efficientnet_lite0": "tf_efficientnet_lite0"}  # the architectures that have another name there


def jax_tasks(arch: str) -> dict[str, Callable[[], None]]:
    """Return the tasks of this project."""
    import jax
    import optax

    from wsol_jax.backbones import BACKBONES, build
    from wsol_jax.losses.classes import cross_entropy
    from wsol_jax.methods.networks import apply, with_auxiliary

    key, size = jax.random.key(0), SIZE.value or BACKBONES[arch].size
    image = jax.random.normal(key, (BATCH.value, size, size, 3))
    label = jax.random.randint(key, (BATCH.value,), 0, CLASSES)
    network, optimiser = build(arch, CLASSES), optax.sgd(1e-3, momentum=0.9)
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), image, False))
    leaves, tree = jax.tree.flatten(shapes)
    variables = jax.tree.unflatten(tree, [jax.random.uniform(key, x.shape, minval=0.0, maxval=0.01) for x in leaves])
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    state = [params, batch_stats, optimiser.init(params)]

    @jax.jit
    def forward(params, batch_stats, image):
        return apply(network, {"params": params, "batch_stats": batch_stats}, image, None, False)[0].head

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def step(params, batch_stats, memory, image, label):
        def loss(params):
            out, changed = apply(network, {"params": params, "batch_stats": batch_stats}, image, key, True)
            return with_auxiliary(lambda logits: cross_entropy(logits, label), out.head, out.auxiliary), changed

        gradients, batch_stats = jax.grad(loss, has_aux=True)(params)
        updates, memory = optimiser.update(gradients, memory, params)
        return optax.apply_updates(params, updates), batch_stats, memory

    def one_step() -> None:
        state[:] = jax.block_until_ready(step(*state, image, label))

    return {"forward": lambda: jax.block_until_ready(forward(*state[:2], image)), "step": one_step}


def torch_tasks(arch: str) -> dict[str, Callable[[], None]]:
    """Return the tasks of PyTorch, with torchvision's network of that name or timm's."""
    import timm
    import torch
    import torchvision

    from wsol_jax.backbones import BACKBONES

    torch.set_num_threads(1)
    size, make = SIZE.value or BACKBONES[arch].size, getattr(torchvision.models, arch, None)
    model = make(num_classes=CLASSES) if make else timm.create_model(TIMM.get(arch, arch))
    model = model.to(memory_format=torch.channels_last)
    image = torch.randn(BATCH.value, 3, size, size).contiguous(memory_format=torch.channels_last)
    label = torch.randint(CLASSES, (BATCH.value,))
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def forward() -> None:
        model.eval()
        with torch.inference_mode():
            model(image)

    def step() -> None:
        model.train()
        optimiser.zero_grad()
        out = model(image)
        main, *auxiliary = out if isinstance(out, tuple) else (out,)
        loss = torch.nn.functional.cross_entropy(main, label)
        for logits in auxiliary:
            loss = loss + 0.3 * torch.nn.functional.cross_entropy(logits, label)
        loss.backward()
        optimiser.step()

    return {"forward": forward, "step": step}


def work() -> None:
    """Read names of tasks; run each and print its seconds of processor time. The first run of a task compiles."""
    tasks = {"jax": jax_tasks, "torch": torch_tasks}[WORKER.value](ARCH.value[0])
    for line in sys.stdin:
        start = time.process_time()
        tasks[line.strip()]()
        print(time.process_time() - start, flush=True)


def start(framework: str, arch: str) -> subprocess.Popen:
    """Start a process that runs one backbone of one framework with one thread."""
    one_thread = {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(Path(__file__).parent.parent)}
    one_thread["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    command = [sys.executable, __file__, f"--worker={framework}", f"--arch={arch}", f"--batch={BATCH.value}"]
    command += [f"--size={SIZE.value}"]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return subprocess.Popen(command, env=os.environ | one_thread, **pipes)


def seconds(worker: subprocess.Popen, task: str) -> float:
    """Return the seconds of processor time that a worker takes for a task."""
    worker.stdin.write(task + "\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def compare(arch: str) -> str:
    """Return the line of the table about one backbone."""
    ours, torch = workers = start("jax", arch), start("torch", arch)
    line = f"{arch:20}"
    for task in TASKS.value:
        pairs = [(seconds(ours, task), seconds(torch, task)) for _ in range(REPEATS.value + 1)][1:]
        mine, theirs = (1000 * statistics.median(times) for times in zip(*pairs, strict=True))
        line += f"{mine:10.0f}{theirs:10.0f}{statistics.median(m / t for m, t in pairs):8.2f}"
    for worker in workers:
        worker.communicate()
    return line


def main(_: list[str]) -> None:
    """Run the benchmark."""
    if WORKER.value:
        work()
        return
    os.sched_setaffinity(0, {CORE.value if CORE.value is not None else max(os.sched_getaffinity(0))})
    print(f"batch {BATCH.value}; {' and '.join(TASKS.value)}: this project's ms, torch's ms, ratio")
    for arch in ARCH.value:
        print(compare(arch), flush=True)


if __name__ == "__main__":
    app.run(main)
