"""The same chance in every rehearsal: :func:`seed`.

Suites make their data by ``random`` and Faker. Two runs then differ in their rows, queries and
answers, and no patch can be judged. In a rehearsal alone, what a test draws is settled by its name:
it is the same in a run of all tests and in one of a few. What comes from the operating system
(``secrets``, ``uuid4()``) is not, and neither is what a suite seeds itself.
"""

from __future__ import annotations

import random
import sys
import zlib
from functools import wraps
from typing import Any

from django.test import SimpleTestCase

__all__ = ["seed", "seed_test_cases"]

_GENERATORS = {"faker.generator": "random", "factory.random": "randgen"}
"""Generators of their own that packages make data with: modules, and their names in them."""


def seed(name: str) -> None:
    """Begin anew, with what ``name`` comes to, wherever the process draws from."""
    random.seed(name)
    for module, generator in _GENERATORS.items():
        found: Any = getattr(sys.modules.get(module), generator, None)
        if isinstance(found, random.Random):
            found.seed(name)
    numpy: Any = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed(zlib.crc32(name.encode()))


def seed_test_cases() -> None:
    """Begin anew before each class of tests and each test, in whichever process it runs.

    ``setUpTestData()`` is before the first test; those of ``--parallel`` tell their runner late.
    """
    case: Any = SimpleTestCase
    set_up, call = case.setUpClass.__func__, SimpleTestCase.__call__

    @wraps(set_up)
    def seeded_set_up(cls: type[SimpleTestCase]) -> None:
        seed(f"{cls.__module__}.{cls.__qualname__}")
        set_up(cls)

    @wraps(call)
    def seeded_call(self: SimpleTestCase, result: Any = None) -> Any:
        seed(self.id())
        return call(self, result)

    case.setUpClass, case.__call__ = classmethod(seeded_set_up), seeded_call
