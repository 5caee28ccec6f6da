# SPDX-License-Identifier: MIT
"""The keys of every benchmark: `str`, made in one order, used in another."""

from __future__ import annotations

import random

Keys = list[str]


def made(n_keys: int) -> Keys:
    """Keys in the order in which they are made and joined: neighbours here are neighbours in memory."""
    return [f"service/{n}" for n in range(n_keys)]


def shuffled(keys: Keys, seed: int = 1) -> Keys:
    """The same objects in a random order, always the same one."""
    keys = list(keys)
    random.Random(seed).shuffle(keys)
    return keys


def equal_others(keys: Keys) -> Keys:
    """Equal keys that are other objects, made in the order of `keys`."""
    return [key.encode().decode() for key in keys]
