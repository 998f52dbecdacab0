"""What the fuzzer begins with does no harm, nor do the same bytes cut off or bent anywhere.

To look for more than this is for `nox -s fuzz`.
"""

from __future__ import annotations

import random

import pytest

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

BENT = 20
"""How many times each seed is bent."""


def test_every_target_has_seeds():
    assert SEEDS.keys() == TARGETS.keys()


@pytest.mark.parametrize("name", TARGETS)
def test_no_seed_does_harm_whole_or_bent(name: str):
    chance = random.Random(name)  # noqa: S311 - to be repeated
    for seed in SEEDS[name]:
        TARGETS[name](seed)
        for _ in range(BENT):
            start, end = sorted(chance.choices(range(len(seed) + 1), k=2))
            other = chance.choice(SEEDS[name])
            bent = seed[:start] + chance.choice((b"", chance.randbytes(2), other)) + seed[end:]
            TARGETS[name](bent)
