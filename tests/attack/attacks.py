"""Bad inputs by kind: each kind builds any number of them, and states what has to happen.

    python tests/attack/attacks.py --inputs=300

What has to happen is 'refused', an InputError of one line; 'accepted'; or 'either', for damage that may miss what
matters. Nothing else may happen, and nothing that an input names may run.
"""

import argparse
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]

from weight_inputs import (  # noqa: E402
    INSTRUCTIONS,
    OTHERS,
    another_kind,
    broken_bytes,
    broken_instructions,
    code_in_an_entry,
    code_next_to_a_network,
    doubled,
    grown,
    instructions,
    nested_archive,
    no_numbers,
    one_value_many_times,
    strange_name,
    too_many_instructions,
    unpacked,
)
from workdir_inputs import (  # noqa: E402
    damaged_archive,
    damaged_array,
    damaged_identity,
    damaged_lock,
    extreme_value,
)

from wsol_jax.errors import InputError  # noqa: E402

Builder = Callable[[np.random.Generator, int, Path], Callable[[], object]]
"""(random numbers, number of the input, an empty folder) -> a function that reads the input."""

SECONDS = 120  # after which an input counts as one without an end


class Attack(NamedTuple):
    """A kind of bad input.

    Attributes:
        expected: 'refused', 'accepted' or 'either'.
        build: writes an input and returns the function that reads it.
        many: how many different inputs there are; None for any number.
    """

    expected: str
    build: Builder
    many: int | None = 1


def outcome(attack: Attack, number: int, folder: Path) -> str:
    """What happens with one input: 'refused', 'accepted', or what went wrong."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"no end within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        attack.build(np.random.default_rng(number), number, folder)()
        result = "accepted"
    except InputError as error:
        result = "refused" if "\n" not in str(error) and len(str(error)) < 2000 else f"a long error: {error}"
    except BaseException as error:
        result = f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    if (folder / "touched").exists():
        return "its code ran"
    return result


ATTACKS = {
    "code in an entry": Attack("refused", code_in_an_entry, 32),
    "code next to a network": Attack("accepted", code_next_to_a_network, 32),
    "a value that doubles itself": Attack("either", doubled, 16),
    "one value many times": Attack("accepted", one_value_many_times, 2),
    "instructions": Attack("refused", instructions, 2 * len(INSTRUCTIONS)),
    "too many instructions": Attack("refused", too_many_instructions),
    "tensors that share their numbers": Attack("refused", grown),
    "archives in archives": Attack("refused", nested_archive, 8),
    "unpacks to much": Attack("refused", unpacked),
    "broken bytes": Attack("either", broken_bytes, None),
    "broken instructions": Attack("either", broken_instructions, None),
    "another kind of file": Attack("refused", another_kind, len(OTHERS)),
    "weights that are no numbers": Attack("refused", no_numbers, 4),
    "strange names": Attack("refused", strange_name, 5),
    "damaged arrays": Attack("refused", damaged_array, None),
    "damaged archives": Attack("refused", damaged_archive, None),
    "damaged fingerprints": Attack("refused", damaged_identity, 8),
    "extreme values": Attack("either", extreme_value, None),
    "damaged locks": Attack("refused", damaged_lock, 5),
}
"""Kind of bad input -> how it is built, and what has to happen."""


def is_right(attack: Attack, result: str) -> bool:
    """Whether what happened is what has to."""
    return result == attack.expected or (attack.expected == "either" and result in ("refused", "accepted"))


def everything(inputs: int) -> Counter:
    """{(kind, result): count} of at least that many inputs, where there are so many; wrong results are printed."""
    counts, fixed = Counter(), sum(attack.many or 0 for attack in ATTACKS.values())
    open_kinds = sum(attack.many is None for attack in ATTACKS.values())
    for kind, attack in ATTACKS.items():
        for number in range(attack.many or -(-max(inputs - fixed, open_kinds) // open_kinds)):
            with tempfile.TemporaryDirectory() as folder:
                result = outcome(attack, number, Path(folder))
            right = is_right(attack, result)
            counts[kind, result if right else "WRONG"] += 1
            if not right:
                print(f"{kind} {number}: {result}; expected {attack.expected}", flush=True)
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=300)
    totals = everything(parser.parse_args().inputs)
    for (kind, result), count in sorted(totals.items()):
        print(f"{kind:34} {result:9} {count}")
    wrong = sum(count for (_, result), count in totals.items() if result == "WRONG")
    print(f"{sum(totals.values())} inputs, {wrong} of them not as they have to be")
    sys.exit(bool(wrong))
