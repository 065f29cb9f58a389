"""Rows over devices and back."""

import jax
import numpy as np
import pytest
import tiny

from wsol_jax import devices
from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError


def numbered(step: int, rows: int = 8) -> Batch:
    """A batch whose every number tells its step and row."""
    row = 100 * step + np.arange(rows)
    four = np.stack([row] * 4, axis=-1).astype(np.float32)
    return Batch(np.zeros((rows, 2, 2, 3), np.uint8), four, row % 2 == 0, row, four + 0.5, row, row >= 0)


def test_a_mesh_has_every_device_unless_told():
    assert devices.make_mesh().size == jax.device_count() == 8
    assert devices.make_mesh().axis_names == ("data",)
    assert devices.make_mesh(jax.devices()[2::-1]).devices.tolist() == jax.devices()[:3]


def test_one_process_reads_the_whole_batch():
    assert devices.local_slice(16, tiny.mesh(8)) == slice(0, 16)


@pytest.mark.parametrize("batch_size", [7, 12])
def test_devices_must_share_a_batch_evenly(batch_size):
    with pytest.raises(InputError, match=f"batch_size {batch_size} is not divisible by the 8 devices"):
        devices.local_slice(batch_size, tiny.mesh(8))


def test_rows_are_spread_in_order_and_come_back():
    batch = devices.put(numbered(3), tiny.mesh(8))
    on_device = {shard.device: shard.data.tolist() for shard in batch.index.addressable_shards}
    assert [on_device[device] for device in tiny.mesh(8).devices] == [[300 + row] for row in range(8)]
    assert tiny.mesh(8).devices.tolist() != jax.devices()
    assert batch.window.sharding == devices.sharded(tiny.mesh(8))
    for found, given in zip(batch, numbered(3), strict=True):
        np.testing.assert_array_equal(devices.fetch(found), given)


def test_what_is_replicated_is_whole_on_every_device():
    tree = {"a": np.arange(6.0, dtype=np.float32).reshape(2, 3), "b": np.int32(4)}
    everywhere = devices.replicate(tree, tiny.mesh(8))
    for name, value in tree.items():
        shards = everywhere[name].addressable_shards
        assert len({shard.device for shard in shards}) == 8
        assert all(np.array_equal(shard.data, value) for shard in shards)
    tiny.assert_trees_equal(jax.tree.map(devices.fetch, everywhere), jax.tree.map(np.asarray, tree))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_every_batch_is_passed_on_in_order(count):
    found = list(devices.prefetch((numbered(step) for step in range(count)), tiny.mesh(8)))
    assert [int(batch.index[0]) for batch in found] == [100 * step for step in range(count)]


def test_two_batches_are_on_the_way_while_one_is_used():
    asked = []
    stream = devices.prefetch((asked.append(step) or numbered(step) for step in range(9)), tiny.mesh(1))
    next(stream)
    assert asked == [0, 1, 2]
    next(stream)
    assert asked == [0, 1, 2, 3]


def test_results_are_of_the_photos_they_are_joined_to():
    index = devices.put(numbered(0).index, tiny.mesh(4))
    devices.require_order(index, [0, 1, 2])  # the other rows are padding
    with pytest.raises(ValueError, match=r"are those of photos \[0, 1, 2\]; expected \[0, 2, 1\]"):
        devices.require_order(index, [0, 2, 1])


def test_what_items_begin_is_under_way_before_they_are_needed():
    begun = []
    stream = devices.ahead(begun.append(step) or step for step in range(4))
    assert next(stream) == 0 and begun == [0, 1, 2]
    assert list(stream) == [1, 2, 3]
