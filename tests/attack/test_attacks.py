"""A quick selection of the attacks: the first inputs of every kind; `attacks.py` has them all."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from attacks import ATTACKS, is_right, outcome
from weight_inputs import INSTRUCTIONS

QUICK = {"instructions": 2 * len(INSTRUCTIONS), "code in an entry": 32, "a value that doubles itself": 16}


@pytest.mark.parametrize("kind", ATTACKS)
def test_what_has_to_happen_happens(kind, tmp_path):
    attack, wrong = ATTACKS[kind], {}
    for number in range(min(attack.many or 24, QUICK.get(kind, 24))):
        (tmp_path / str(number)).mkdir()
        result = outcome(attack, number, tmp_path / str(number))
        if not is_right(attack, result):
            wrong[number] = result
    assert not wrong
