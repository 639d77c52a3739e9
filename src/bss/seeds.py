"""Random draws: each has its own generator, made from (seed, purpose, epoch) and nothing else."""

import zlib

import numpy as np


def generator(seed: int, purpose: str, epoch: int = 0) -> np.random.Generator:
    """A generator that no other purpose or epoch shares, whatever was drawn before."""
    return np.random.default_rng(_sequence(seed, purpose, epoch))


def integer(seed: int, purpose: str, epoch: int = 0) -> int:
    """A seed in [0, 2**63) for a library that wants a number."""
    return int(_sequence(seed, purpose, epoch).generate_state(1, np.uint64)[0] >> 1)


def _sequence(seed: int, purpose: str, epoch: int) -> np.random.SeedSequence:
    return np.random.SeedSequence((seed, zlib.crc32(purpose.encode()), epoch))
