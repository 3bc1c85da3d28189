"""Keys: equal for the same question, and for no other."""

from __future__ import annotations

import os
import string
import struct
import subprocess
import sys
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from itertools import combinations
from typing import Any, Self
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils.functional import SimpleLazyObject, lazy
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy, ngettext_lazy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import CustomUser, Role
from django_querybudget.cache.keys import Unkeyable, entry_key, spelled


def kind(value: Any) -> str:
    """Return a test's id that is the same in every process."""
    return type(value).__name__


class Secret(str):
    """A text that shows itself to nobody."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__


class Tagged(str):  # noqa: SLOT000  # it has a __dict__
    """A text with something more."""

    def __new__(cls, text: str, tag: str) -> Self:
        made = super().__new__(cls, text)
        made.tag = tag
        return made

    tag: str


class Amount(Decimal):
    def __str__(self) -> str:
        return "amount"

    __repr__ = __str__


class Number(int):
    def __repr__(self) -> str:
        return "number"


class Share(float):
    def __repr__(self) -> str:
        return "share"


class Blob(bytes):
    def __repr__(self) -> str:
        return "blob"


class Moment(datetime):
    def __repr__(self) -> str:
        return "moment"

    def isoformat(self, *_: Any) -> str:
        return "moment"


class Day(date):
    def __repr__(self) -> str:
        return "day"

    __str__ = isoformat = __repr__  # type: ignore[assignment]


class Colour(Enum):
    RED = 1
    GREEN = "1"


class Level(IntEnum):
    LOW = 1


class Zone(tzinfo):
    """A zone of the host's own that does not show itself."""

    def __init__(self, hours: int) -> None:
        self.hours = hours

    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(hours=self.hours)

    def tzname(self, _: datetime | None) -> str:
        return "zone"

    def dst(self, _: datetime | None) -> None:
        return None


AT = datetime(2026, 10, 25, 2, 30)  # noqa: DTZ001  # naive is one of the kinds
DIFFERENT = [
    1, "1", 1.0, True, None, b"1", Decimal(1), Decimal("1.0"), (1,), [1], (1, 2), ((1,), 2), {1},
    {"a": 1}, {"a": "1"}, date(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), "", (),
    memoryview(b"1"), Role.CLIENT, "client", CustomUser(pk=1), ("a,b",), ("a", "b"),
    Secret("a"), Secret("b"), "a", "***", Tagged("a", "x"), Tagged("a", "y"),
    Amount(1), Amount(2), Number(1), Number(2), Share(1), Share(2), Blob(b"1"), Blob(b"2"),
    Moment(2026, 1, 1), Moment(2026, 1, 2), Day(2026, 1, 1), Day(2026, 1, 2),
    Colour.RED, Colour.GREEN, Level.LOW, SafeString("a"),
    AT, AT.replace(fold=1), *[
        AT.replace(tzinfo=zone)
        for zone in (
            ZoneInfo("Europe/Berlin"), ZoneInfo("Europe/Paris"), timezone(timedelta(hours=1)),
            timezone(timedelta(hours=1), "here"), Zone(1), Zone(2),
        )
    ],
    time(1), time(1, tzinfo=UTC), timedelta(1), timedelta(seconds=1), UUID(int=1), UUID(int=2),
    ["a", "b"], ["a,str:'b'"], ("a], tuple[b",), OrderedDict(a=1), {"a=int:1,str:'b'": 1},
    {"a": 1, "b": 1}, frozenset({1}), frozenset(), AnonymousUser(),
]  # fmt: skip


def test_different_values_are_spelled_differently() -> None:
    for one, other in combinations(DIFFERENT, 2):
        assert spelled(one) != spelled(other)


def test_equal_values_are_spelled_equally() -> None:
    assert spelled({"a": 1, "b": 2}) == spelled({"b": 2, "a": 1})
    assert spelled({"x", "y", "z"}) == spelled({"z", "y", "x"})
    assert spelled(AnonymousUser()) == spelled(AnonymousUser())
    assert spelled(Tagged("a", "x")) == spelled(Tagged("a", "x"))


def test_an_enum_is_its_value_not_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment changes the value behind a name: old entries are another question's."""
    texts = []
    for value in ("open", "running"):
        status: Any = Enum("Status", {"OPEN": value}, module=__name__, type=str)  # type: ignore[misc]
        monkeypatch.setitem(globals(), "Status", status)
        texts.append(spelled(status.OPEN))
    assert texts[0] != texts[1]
    assert "running" in texts[1]


def test_a_lazy_value_is_what_it_stands_for() -> None:
    user = CustomUser(pk=7)
    assert spelled(SimpleLazyObject(lambda: user)) == spelled(user)
    assert spelled(SimpleLazyObject(lambda: SimpleLazyObject(lambda: 3))) == spelled(3)
    assert spelled(gettext_lazy("yes")) == spelled("yes")
    assert spelled(lazy(lambda: 3, int)()) == spelled(3)
    assert spelled((SimpleLazyObject(AnonymousUser),)) == spelled((AnonymousUser(),))


def local_class() -> Any:
    class Local(str):
        __slots__ = ()

    return Local("a")


@pytest.mark.parametrize(
    "value",
    [object(), CustomUser(), [object()], lambda: None, Fraction(1, 2), local_class(),
     ngettext_lazy("%d job", "%d jobs"), SimpleLazyObject(object), Tagged("a", object())],  # type: ignore[arg-type]
    ids=kind,
)  # fmt: skip
def test_what_has_no_spelling(value: Any) -> None:
    with pytest.raises(Unkeyable):
        spelled(value)


def test_what_holds_itself_has_no_spelling() -> None:
    itself: list[Any] = []
    itself.append({"again": itself})
    deep: Any = ()
    for _ in range(100_000):
        deep = (deep,)
    for value in (itself, deep):
        with pytest.raises(Unkeyable, match="holds itself, or is nested too deep"):
            spelled(value)


def test_an_anonymous_user_with_state_of_its_own_is_another_one() -> None:
    user: Any = AnonymousUser()
    user.tenant = 1
    assert spelled(user) != spelled(AnonymousUser())
    user.tenant = object()
    with pytest.raises(Unkeyable):
        spelled(user)


def test_parts_of_a_key_do_not_run_together() -> None:
    assert entry_key("ab", "c") != entry_key("a", "bc")
    assert entry_key("a\0b") != entry_key("a", "b")
    assert entry_key("a\0001:b") != entry_key("a", "b")
    assert len(entry_key("a" * 10_000)) < 60


# Separators of the spelling inside of texts, so that one value can pretend to be another.
TEXTS = st.text(st.sampled_from("a1,=:[]'\"\\\0 é" + string.ascii_lowercase[:3]), max_size=6)
ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.integers(), st.floats(allow_nan=False), TEXTS,
    st.binary(max_size=3), st.decimals(allow_nan=False), st.uuids(), st.dates(), st.datetimes(),
    st.datetimes(timezones=st.timezones()), st.times(), st.timedeltas(),
    TEXTS.map(Secret), st.integers(-3, 3).map(Number), st.sampled_from([*Colour, *Level, *Role]),
)  # fmt: skip
HASHABLE = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3)
    ),
    max_leaves=6,
)
VALUES = st.recursive(
    HASHABLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(HASHABLE, inner, max_size=3)
    ),
    max_leaves=6,
)


def told(value: Any) -> Any:  # noqa: PLR0911  # one type after another
    """Return what tells a value apart, in a form that compares exactly: type before value."""
    name = type(value).__qualname__
    if isinstance(value, Enum):
        return name, told(value.value)
    if isinstance(value, dict):
        return name, frozenset((told(key), told(item)) for key, item in value.items())
    if isinstance(value, frozenset):
        return name, frozenset(map(told, value))
    if isinstance(value, list | tuple):
        return name, tuple(map(told, value))
    if isinstance(value, float):
        return name, struct.pack("d", value)
    if isinstance(value, Decimal):
        return name, value.as_tuple()
    if isinstance(value, datetime):
        zone = value.tzinfo
        return name, value.replace(tzinfo=None, fold=0), value.fold, str(zone)
    if isinstance(value, str):
        return name, str.__str__(value)
    if isinstance(value, int):
        return name, int(value)
    return name, value


# The first time zones are slow to draw, and so is a machine with much to do.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES, VALUES)
def test_two_values_share_a_spelling_only_if_they_are_the_same(one: Any, other: Any) -> None:
    assert (spelled(one) == spelled(other)) is (told(one) == told(other))


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=4), st.lists(TEXTS, max_size=4))
def test_two_lists_of_parts_share_a_key_only_if_they_are_the_same(
    one: list[str], other: list[str]
) -> None:
    assert (entry_key(*one) == entry_key(*other)) is (one == other)


def test_every_process_spells_alike(tmp_path: Any) -> None:
    """Hashes of texts differ between processes, and with them the order of sets."""
    program = (
        "import django; django.setup()\n"
        "from tests.cache.test_keys import *\n"
        "print(*map(spelled, [*DIFFERENT, {*'abcdefgh'}, frozenset({(1, 'a'), (2, 'b')})]),"
        "      sep='\\n')"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "DJANGO_SETTINGS_MODULE": "tests.settings",
            },
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "77")
    }
    assert len(texts) == 1
    assert texts.pop().count("\n") == len(DIFFERENT) + 2
