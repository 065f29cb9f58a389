from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from wsol_jax import boxes
from wsol_jax.errors import InputError
from wsol_jax.pseudo import ddt, moments
from wsol_jax.pseudo.ddt import Chunk, Direction
from wsol_jax.pseudo.regions import heat_box

EVERYTHING = 2**40


def reader(features: np.ndarray, size: int = 4, mesh: Mesh | None = None) -> ddt.Reader:
    """Stands for photos that a network has turned into `features`: what the network is given is the features."""

    def read(indices: np.ndarray) -> Iterator[Chunk]:
        for start in range(0, len(indices), size):
            index = np.resize(indices[start : start + size], size)
            image = jnp.asarray(features[index])
            if mesh is not None:
                image = jax.device_put(image, NamedSharding(mesh, PartitionSpec("data")))
            yield Chunk(index, np.arange(size) < len(indices) - start, image)

    return read


def identity(features: jax.Array) -> jax.Array:
    return features


def find(features, groups, sign="max_projection", max_bytes=EVERYTHING, size=4, mesh=None, done=(), log=print):
    read = reader(features, size, mesh)
    found = ddt.find_directions(
        identity, read, groups, done=done, batch_size=size, sign=sign, max_bytes=max_bytes, fetch=np.asarray, log=log
    )
    return {group: (direction, members, heat) for group, direction, members, heat in found}


def blobs(photos: int, dimensions: int = 8, seed: int = 0) -> np.ndarray:
    """Features that are noise, but for a block of cells that lies along one direction."""
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 0.1, (photos, 6, 6, dimensions)).astype(np.float32)
    features[:, 1:4, 2:5] += 3 * np.linspace(-1, 1, dimensions, dtype=np.float32)
    return features


@pytest.mark.parametrize("kept", [2.0, 0.4, 0.0])
def test_golden_of_the_published_script(shared, kept):
    golden = np.load(shared / "goldens" / "ddt" / "ddt_0.npz")
    features, logged = golden["features"], []
    found = find(features, np.zeros(12, int), max_bytes=int(kept * features.nbytes), log=logged.append, size=5)
    direction, members, heat = found[0]
    np.testing.assert_array_equal(members, np.arange(12))
    np.testing.assert_allclose(direction.mean, golden["mean"], atol=1e-5)
    turn = np.sign(direction.direction @ golden["P"])
    np.testing.assert_allclose(direction.direction, turn * golden["P"], atol=1e-6)
    drawn = np.stack([heat_box(one, "nearest_code", 448)[0] for one in heat])
    np.testing.assert_allclose(boxes.xyxy_to_xywh(drawn), golden["boxes"], atol=1e-12)
    assert bool(logged) == (kept < 1)


def test_direction_is_the_first_principal_component():
    features = blobs(7)
    cells = features.reshape(-1, 8).astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(cells.T, bias=True))
    direction, _, heat = find(features, np.zeros(7, int))[0]
    assert 1 - abs(direction.direction @ vectors[:, -1]) < 1e-6
    assert direction.explained == pytest.approx(values[-1] / values.sum(), rel=1e-4)
    assert direction.deviation == pytest.approx(heat.std(), rel=1e-3)
    np.testing.assert_allclose(np.linalg.norm(direction.direction), 1, rtol=1e-6)


def test_groups_do_not_see_each_other_though_batches_cross_them():
    features = np.concatenate([blobs(5, seed=1), 2 * blobs(3, seed=2), blobs(6, seed=3)[..., ::-1]])
    groups = np.repeat([4, 0, 2], [5, 3, 6])
    shuffled = np.random.default_rng(0).permutation(14)
    together = find(features[shuffled], groups[shuffled])
    assert list(together) == [0, 2, 4]
    for group, (direction, members, heat) in together.items():
        alone, _, heat_alone = find(features[shuffled][members], np.zeros(len(members), int))[0]
        np.testing.assert_array_equal(groups[shuffled][members], group)
        np.testing.assert_allclose(direction.direction, alone.direction, atol=1e-6)
        np.testing.assert_allclose(heat, heat_alone, atol=1e-5)


@pytest.mark.parametrize("done", [(0,), (1,), (0, 1), (0, 2), (0, 1, 2)])
def test_groups_that_are_done_are_left_out_and_change_nothing(done):
    features, groups = blobs(16), np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [3, 6, 7]))
    everything, rest = find(features, groups), find(features, groups, done=done)
    assert sorted(rest) == sorted({0, 1, 2} - set(done))
    for group, (direction, members, heat) in rest.items():
        np.testing.assert_array_equal(direction.direction, everything[group][0].direction)
        np.testing.assert_array_equal(members, everything[group][1])
        np.testing.assert_array_equal(heat, everything[group][2])


def test_photos_without_room_pass_twice_and_are_counted():
    features, logged, passes = blobs(10), [], []

    def forward(image):
        passes.append(len(image))
        return image

    room = features[:4].nbytes
    read = reader(features)
    zeros = np.zeros(10, int)
    rules = dict(batch_size=4, sign="max_loading", max_bytes=room)
    (kept,) = ddt.find_directions(forward, read, zeros, done=(), fetch=np.asarray, log=logged.append, **rules)
    assert logged == ["6 of 10 photos exceed pseudo.max_bytes and pass twice"]
    assert len(passes) == 3 + 2
    np.testing.assert_allclose(kept[3], find(features, np.zeros(10, int), "max_loading")[0][2], atol=1e-6)


def test_moments_are_added_chunk_by_chunk_and_do_not_pile_up_on_the_devices():
    dimensions, scatters = 37, []
    features = blobs(40, dimensions)

    def forward(image):
        scatters.append(sum(array.shape == (dimensions, dimensions) for array in jax.live_arrays()))
        return image

    rules = dict(batch_size=4, sign="max_loading", max_bytes=0, fetch=np.asarray, log=lambda line: None)
    ((_, direction, _, _),) = ddt.find_directions(forward, reader(features), np.zeros(40, int), done=(), **rules)
    assert len(scatters) == 2 * 10 and max(scatters) <= 1
    total = moments.empty(dimensions)
    for start in range(0, 40, 4):
        total = moments.merge(total, jax.jit(moments.of)(features[start : start + 4], np.ones(4, np.float32)))
    expected = ddt.principal_direction(total, 40, "max_loading")
    np.testing.assert_array_equal(direction.mean, expected.mean)
    np.testing.assert_array_equal(abs(direction.direction), abs(expected.direction))


def test_eight_devices_find_what_one_finds():
    features, groups = blobs(21, seed=5), np.repeat([0, 1], [10, 11])
    for size in (8, 16):
        mesh = Mesh(np.array(jax.devices()), "data")
        one, eight = find(features, groups, size=size), find(features, groups, size=size, mesh=mesh)
        for group in one:
            assert 1 - one[group][0].direction @ eight[group][0].direction < 1e-6
            np.testing.assert_allclose(one[group][2], eight[group][2], atol=1e-4)


def test_statistics_serve_other_photos_of_the_group():
    features = blobs(9)
    groups = np.repeat([0, 1], [6, 3])
    found = find(features, groups)
    known = {group: direction for group, (direction, _, _) in found.items()}
    again = list(ddt.apply_directions(identity, reader(features), groups, known, np.asarray))
    np.testing.assert_array_equal(np.concatenate([index for index, _ in again]), np.arange(9))
    expected = np.concatenate([found[0][2], found[1][2]])
    np.testing.assert_allclose(np.concatenate([heat for _, heat in again]), expected, atol=1e-5)


def test_two_chunks_are_under_way_while_heat_maps_come_back():
    """Of photos that pass twice, and of other photos."""
    features, begun, seen = blobs(20), [], []

    def forward(images: jax.Array) -> jax.Array:
        begun.append(images)
        return images

    def fetch(array: jax.Array) -> np.ndarray:
        if array.ndim == 3:  # heat maps
            seen.append(len(begun))
        return np.asarray(array)

    rules = {"batch_size": 4, "sign": "max_projection", "max_bytes": 0, "log": print}
    groups = np.zeros(20, int)
    ((_, direction, _, _),) = ddt.find_directions(forward, reader(features), groups, done=(), fetch=fetch, **rules)
    assert seen == [5 + begun for begun in (3, 4, 5, 5, 5)]
    begun.clear(), seen.clear()
    list(ddt.apply_directions(forward, reader(features), groups, {0: direction}, fetch))
    assert seen == [3, 4, 5, 5, 5]


def test_statistics_of_other_features_are_refused():
    known = {1: ddt.undefined(3, 2, "")}
    with pytest.raises(InputError, match=r"statistics of DDT of group 1 have 3 numbers, and features \d+; delete"):
        list(ddt.apply_directions(identity, reader(blobs(2)), np.array([1, 1]), known, np.asarray))


def test_photos_of_an_unknown_group_get_no_heat():
    known = {0: find(blobs(4), np.zeros(4, int))[0][0]}
    ((_, heat),) = ddt.apply_directions(identity, reader(blobs(2)), np.array([0, 7]), known, np.asarray)
    assert heat[0].any()
    assert not heat[1].any()


def test_constant_features_and_a_single_photo_have_no_direction():
    constant = np.full((5, 3, 3, 8), 7.0, np.float32)
    for features in (constant, np.zeros_like(constant), blobs(1)):
        direction, _, heat = find(features, np.zeros(len(features), int))[0]
        assert not direction.direction.any()
        assert direction.explained == 0
        np.testing.assert_array_equal(heat, 0)


class TestOrientation:
    """The rules agree on real photos, so here is where they do not."""

    direction = np.array([0.1, -0.9, 0.4])

    @pytest.mark.parametrize(
        ("rule", "heat", "expected"),
        [
            ("max_loading", [5.0, -1.0], -1.0),
            ("max_projection", [5.0, -1.0], 1.0),
            ("max_plus_min", [5.0, -1.0], 1.0),
            ("max_projection", [1.0, -5.0], -1.0),
            ("max_plus_min", [1.0, -5.0], -1.0),
            ("max_plus_min", [2.0, -2.0], 1.0),
            ("max_projection", [0.0, 0.0], 1.0),
            ("max_projection", [2.0, -2.0], 1.0),  # of equals the first
            ("max_projection", [-2.0, 2.0], -1.0),
        ],
    )
    def test_rule(self, rule, heat, expected):
        assert ddt.orientation(rule, self.direction, np.array(heat).reshape(1, 1, 2)) == expected

    def test_an_object_of_low_activations_is_where_the_published_rules_part(self):
        """Background cells are high and many, the object's are low and extreme: scikit-learn 1.4 and 1.5 disagree."""
        features = np.full((6, 6, 6, 2), 1.0, np.float32)
        features += np.random.default_rng(0).normal(0, 0.01, features.shape).astype(np.float32)
        features[:, 2:4, 2:4] = -4.0
        by_projection = find(features, np.zeros(6, int), "max_projection")[0]
        by_loading = find(features, np.zeros(6, int), "max_loading")[0]
        np.testing.assert_allclose(by_projection[0].direction, -by_loading[0].direction, atol=1e-6)
        inside, _, _ = heat_box(by_projection[2][0], "nearest_code", 6)
        outside, _, _ = heat_box(by_loading[2][0], "nearest_code", 6)
        np.testing.assert_allclose(inside, [2 / 6, 2 / 6, 4 / 6, 4 / 6])
        np.testing.assert_allclose(outside, [0, 0, 1, 1])

    def test_another_rule_is_refused(self):
        with pytest.raises(InputError, match=r"pseudo\.sign is 'svd'; expected one of max_projection"):
            ddt.orientation("svd", self.direction, np.zeros((1, 1, 1)))


def test_the_rule_is_recorded():
    for rule in ddt.SIGN_RULES:
        assert isinstance(found := find(blobs(3), np.zeros(3, int), rule)[0][0], Direction)
        assert found.sign == rule
        assert found.images == 3
