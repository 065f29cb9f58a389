"""The digest of records, by which finished stages are recognised in later versions too."""

import hashlib
import json

import numpy as np

from wsol_jax.data.records import NO_BOXES, Record, digest


def test_a_digest_is_that_of_all_rows_as_one_json_list():
    boxes = np.array([[0.1, 0.2, 1 / 3, 0.9]])
    records = [Record("a/é.jpg", 0, (4, 3), boxes), Record("b.jpg", -1, (5, 6), NO_BOXES, ("m.png",), "i.png", 6)]
    rows = [
        ["a/é.jpg", 0, (4, 3), [[0.1, 0.2, 0.333333333, 0.9]], (), None],
        ["b.jpg", -1, (5, 6), [], ["m.png"], "i.png", 6, None],
    ]
    for count in range(3):
        assert digest(records[:count]) == hashlib.sha256(json.dumps(rows[:count]).encode()).hexdigest()
