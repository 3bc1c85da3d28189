"""Random programs of calls: what a decorated function answers is what the plain one would.

The arguments are of every kind of :mod:`tests.cache.given`: instances of any age, with values that
were saved, or changed in memory alone, with relations loaded or not, lazy, in tuples, in closures;
texts and numbers that do not show what they are; managers. Between the calls rows are written, past
the hook too and announced in every way, transactions are opened and rolled back, the language, the
time zone and the router's answer change.

An instance may have a relation loaded that is older than the database. A cached function may answer
for it as it is, or as it would be without: both are what a plain call gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, timedelta
from datetime import timezone as fixed_zone
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ObjectDoesNotExist
from django.db import OperationalError, connections, models
from django.db.models import F, Model, Value
from django.db.models.functions import Concat
from django.db.models.signals import post_save
from django.utils import timezone, translation
from django.utils.functional import SimpleLazyObject
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from accounts.models import CustomUser, Profile
from django_querybudget.cache import cache_stats, invalidate, keys
from django_querybudget.cache.reading import arguments, calls, instances, surroundings, through
from jobs.models import Job
from tests.cache import random_programs
from tests.cache.given import ASKS, CACHED, FORMS, PLAIN, TAG, VALUES, bare
from tests.cache.hosts.fields import SealedKey
from tests.cache.hosts.models import ByCode, ByUuid, Hashed, Inited, Negated, Sealed, Shelf, Tracked
from tests.cache.hosts.rows import key_of
from tests.cache.random_programs import LONG, ON_EACH, SHORT, Program, aliases, run
from tests.cache.relations.models import Author, Bistro, Book, DearBook, Named

THINGS = [Hashed, Negated, ByUuid, ByCode, Sealed, Inited, Tracked]
# Rows that are arguments, and the field of each that is changed.
ROWS: list[tuple[Any, Any]] = [
    *((CustomUser, number) for number in (1, 2, 4)),
    *((model, key_of(model, number)) for model in THINGS for number in (1, 2)),
    (Bistro, 3), (Named, "first"), (Book, 2), (Book, 3), (DearBook, 3),
]  # fmt: skip
FIELDS: dict[Any, str] = {
    CustomUser: "first_name", Bistro: "wine", Named: "value", Book: "price", DearBook: "price",
}  # fmt: skip


def _deferred(rows: Any) -> Any:
    # Their own code reads the fields for good, where one is deferred and its row gone.
    return rows if rows.model in (Inited, Tracked) else rows.only("pk")


JOINED = {CustomUser: ["profile"], Book: ["author"], DearBook: ["author"]} | {
    model: ["shelf"] for model in THINGS
}
LOADS: dict[str, Callable[[Any], Any]] = {
    "all": lambda rows: rows,
    "only": _deferred,
    "annotated": lambda rows: rows.annotate(wish=models.Value("a wish")),
    "joined": lambda rows: rows.select_related(*JOINED.get(rows.model, [None])),
}
ANNOUNCEMENTS = [
    "instance", "lazy", "deferred", "post_save", "model", "label", "table", "queryset", "tag",
    "function",
]  # fmt: skip
LANGUAGES = ["en", "de"]
ZONES = [
    UTC,
    ZoneInfo("Asia/Tokyo"),
    fixed_zone(timedelta(hours=9)),
    fixed_zone(timedelta(hours=2)),
]
CAST, HELD = 3, 4
WATCHED = 5

Question = tuple[str, tuple[str, int], str]
"""The form of the call, what it is given (an instance, or each of the values), what is asked."""

# Those that hold an instance are a function for each.
OF_ROWS = FORMS.keys() - {"around", "around in a tuple", "bound"}


def drawn(what: str) -> st.SearchStrategy[Any]:
    """One of the things that the program takes its steps from."""
    return st.runner().flatmap(lambda machine: st.sampled_from(getattr(machine, what)))


slots = st.integers(0, HELD - 1)
questions = st.tuples(
    drawn("forms"),
    st.tuples(drawn("sources"), slots).map(
        lambda source: source if source[0] == "held" else ("values", 0)
    ),
    drawn("asks"),
)
cast = st.integers(0, CAST - 1)
loading = drawn("loads")


class Routed:
    """A router that sends what names no database to one that changes.

    ``found`` is that of the model that is asked for, ``others`` that of all on the way.
    """

    found: ClassVar[str | None] = None
    others: ClassVar[str | None] = None

    @classmethod
    def to(cls, alias: str | None) -> None:
        cls.found = cls.others = alias

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return self.found if issubclass(model, Book) else self.others

    db_for_write = db_for_read

    def allow_relation(self, *_: Any, **__: Any) -> bool:
        return True


class Calls(Program):
    """A process that calls cached functions, and writes."""

    rows = ROWS
    values_of = VALUES
    forms: ClassVar[list[str]] = sorted(FORMS)
    sources: ClassVar[list[str]] = ["held", "values"]
    asks: ClassVar[list[str]] = sorted(ASKS)
    loads: ClassVar[list[str]] = sorted(LOADS)
    routings: ClassVar[list[bool]] = [False, True]

    @initialize(
        scoped=st.booleans(),
        routed=drawn("routings"),
        cast=st.lists(st.tuples(drawn("rows"), aliases), min_size=CAST, max_size=CAST),
        values=drawn("values_of"),
        held=st.lists(st.tuples(cast, loading), min_size=HELD, max_size=HELD),
        watched=st.lists(questions, min_size=WATCHED // 2, max_size=WATCHED),
    )
    def start(  # one thing drawn after another
        self, scoped: bool, routed: bool, cast: Any, values: Any, held: Any, watched: list[Question]
    ) -> None:
        # A test may not touch the default database where it is not the first.
        self.routed = routed or "default" not in self.aliases
        Routed.to(None)
        routers = [f"{__name__}.Routed"] if self.routed else []
        self.begin(scoped=scoped, DATABASE_ROUTERS=routers)
        Routed.to(self.aliases[0] if self.routed else None)
        for functions in (PLAIN, CACHED):
            functions.forget()
        self.asked: dict[tuple[str, int], tuple[str, Any]] = {}
        # A program has few rows and values, so that its steps meet.
        self.cast, self.values = cast, values
        self.held = [self._loaded(number, how) for number, how in held]
        self.watched: dict[Question, None] = dict.fromkeys(watched)

    def teardown(self) -> None:
        super().teardown()
        Routed.to(None)
        translation.deactivate()
        timezone.deactivate()

    # Asking

    @rule(question=questions)
    def watch(self, question: Question) -> None:
        """Ask it from now on, after every step."""
        self.watched[question] = None
        while len(self.watched) > WATCHED:
            del self.watched[next(iter(self.watched))]

    @invariant()
    def every_answer_is_that_of_a_plain_call(self) -> None:
        type(self).steps += 1
        self.compare(self.watched)
        if any(self.blocks.values()) or self.manual:
            self.onlooker.submit(self.look_on).result()

    def look_on(self) -> None:
        """Compare on connections of this thread's own, but what a lock of the writer's keeps."""
        for one in self.watched:
            with suppress(OperationalError):
                self.compare([one])

    def compare(self, watched: Iterable[Question]) -> None:
        for form, source, ask in watched:
            for one in self.given(source):
                self.asked[form, id(one)] = (form, one)
                compare(form, one, ask)
            if source[0] == "held" and form in OF_ROWS:
                # As the next request has it: what another one was told must not be told here.
                compare(form, _loaded_anew(self.held[source[1]]), ask)

    def given(self, source: tuple[str, int]) -> list[Any]:
        kind, number = source
        return self.values if kind == "values" else [self.held[number]]

    # What is given

    @rule(slot=slots, number=cast, how=loading)
    def hold(self, slot: int, number: int, how: str) -> None:
        with suppress(ObjectDoesNotExist):
            self.held[slot] = self._loaded(number, how)

    def _loaded(self, number: int, how: str) -> Model:
        (model, key), alias = self.cast[number]
        found: Model = LOADS[how](model.objects.using(alias)).get(pk=key)
        return found

    @rule(slot=slots, number=st.integers(1, 3))
    def change_in_memory(self, slot: int, number: int) -> None:
        one = self.held[slot]
        setattr(one, _field(type(one)), _value(type(one), number))

    @rule(slot=slots)
    def save(self, slot: int) -> None:
        one = self.held[slot]
        self._try(one._state.db, lambda: one.save(using=one._state.db))

    @rule(language=st.sampled_from(LANGUAGES))
    def speak(self, language: str) -> None:
        translation.activate(language)

    @rule(zone=st.sampled_from(ZONES))
    def move(self, zone: Any) -> None:
        timezone.activate(zone)

    @precondition(lambda self: self.routed)
    @rule(alias=aliases, what=st.sampled_from(["found", "others"]))
    def route(self, alias: str, what: str) -> None:
        setattr(Routed, what, alias)

    # Writing

    @rule(of=cast, number=st.integers(1, 3))
    def update(self, of: int, number: int) -> None:
        (model, key), alias = self.cast[of]
        found = model.objects.using(alias).filter(pk=key)
        self._try(alias, lambda: found.update(**{_field(model): _value(model, number)}))

    @rule(of=cast)
    def delete(self, of: int) -> None:
        (model, key), alias = self.cast[of]
        self._try(alias, lambda: model.objects.using(alias).filter(pk=key).delete())

    @rule(of=cast, number=st.integers(1, 3))
    def write_what_hangs_on_it(self, of: int, number: int) -> None:
        (model, key), alias = self.cast[of]
        self._try(alias, lambda: _write_what_hangs_on(model, key, alias, number))

    @rule(alias=aliases, number=st.integers(1, 3))
    def write_what_is_found(self, alias: str, number: int) -> None:
        found = Book.objects.using(alias).filter(pk=number)
        self._try(alias, lambda: found.update(price=10 + number))

    @rule(of=cast, number=st.integers(1, 3), by=st.sampled_from(ANNOUNCEMENTS))
    def write_past_the_hook(self, of: int, number: int, by: str) -> None:
        (model, key), alias = self.cast[of]
        connection = connections[alias]
        column = model._meta.get_field(_field(model)).column
        primary = model._meta.pk

        def write() -> None:
            connection.ensure_connection()
            with closing(connection.create_cursor()) as cursor:
                cursor.execute(
                    f"UPDATE {model._meta.db_table} SET {column} = %s "
                    f"WHERE {primary.column} BETWEEN %s AND %s",
                    (_value(model, number), *_stored(model, key, connection)),
                )
            self.announce(by, model, key, alias)

        self._try(alias, write)

    def announce(self, by: str, model: Any, key: Any, alias: str) -> None:
        row = model(pk=key)
        row._state.db = alias
        if by == "function":
            for form, one in list(self.asked.values()):
                drop(form, one)
        elif by == "post_save":
            post_save.send(sender=model, instance=row, created=False, using=alias)
        elif by == "lazy":
            invalidate(SimpleLazyObject(lambda: row))
        elif by == "deferred":
            invalidate(_deferred(model.objects.using(alias)).get(pk=key))
        else:
            what = {
                "instance": row, "model": model, "label": model._meta.label,
                "table": model._meta.db_table, "tag": TAG,
                "queryset": model.objects.using(alias).filter(pk=key),
            }  # fmt: skip
            invalidate(what[by])


def _write_what_hangs_on(model: Any, key: Any, alias: str, number: int) -> None:
    """Write a row that the functions find by an instance; all on ``alias``, whatever is routed."""
    if model in THINGS:
        Shelf.objects.using(alias).filter(pk=1).update(name=f"shelf {number}")
    elif model is CustomUser and number == 1:
        profiles = Profile.objects.using(alias).filter(user=key)
        profiles.update(headline=Concat("headline", Value("!")))
    elif model is CustomUser:
        permission, _ = Permission.objects.using(alias).get_or_create(
            codename="view_job",
            content_type=ContentType.objects.db_manager(alias).get_for_model(Job),
        )
        rows = CustomUser.user_permissions.through.objects.using(alias)
        row = {"customuser_id": CustomUser.objects.using(alias).get(pk=key).pk}
        given = rows.filter(permission=permission, **row)
        if not given.delete()[0]:
            rows.create(permission_id=permission.pk, **row)
    elif issubclass(model, Book) and number == 1:
        Author.objects.using(alias).update(name=F("score"), score=F("score") + 1)
    elif issubclass(model, Book):
        tags = Book.tags.through.objects.using(alias)
        if not tags.filter(book=key, tag=number).delete()[0]:
            tags.create(book_id=Book.objects.using(alias).get(pk=key).pk, tag_id=number)


def _stored(model: Any, key: Any, connection: Any) -> tuple[Any, Any]:
    """Return the least and the greatest that a key may be in the database."""
    if model is Sealed:
        return key * SealedKey.NONCES, (key + 1) * SealedKey.NONCES - 1
    stored = model._meta.pk.get_db_prep_value(key, connection)
    return stored, stored


def _field(model: Any) -> str:
    return FIELDS.get(model, "name")


def _value(model: Any, number: int) -> Any:
    is_text = isinstance(model._meta.get_field(_field(model)), models.CharField)
    return f"{_field(model)} {number}" if is_text else 30 + number


def _loaded_anew(one: Model) -> Model:
    return type(one)._base_manager.using(one._state.db).filter(pk=one.pk).first() or one


def compare(form: str, one: Any, ask: str) -> None:
    """Ask the cached function and the plain one. Raises AssertionError where they differ."""
    without = answer(PLAIN, form, bare(one), ask)
    seen = answer(CACHED, form, one, ask)
    as_it_is = answer(PLAIN, form, one, ask)
    if seen not in (as_it_is, without) and not may_be_refused(one, seen):
        raise AssertionError(f"{form} {one!r}, {ask}: {seen}, not {as_it_is} nor {without}")


def answer(functions: Any, form: str, one: Any, ask: str) -> Any:
    """Return what is answered; an error is an answer like any other."""
    function, args, kwargs = FORMS[form](functions, one)
    try:
        return ASKS[ask](function(*args, **kwargs))
    except OperationalError:
        raise
    except Exception as error:  # whatever a plain call raises
        return f"{type(error).__name__}: {error}"


def drop(form: str, one: Any) -> None:
    """Let the function forget the answer; a translation is another argument in each language."""
    for language in LANGUAGES:
        with translation.override(language):
            function, args, kwargs = FORMS[form](CACHED, one)
            with refusals(one):
                function.invalidate(*args, **kwargs)


@contextmanager
def refusals(one: Any) -> Iterator[None]:
    try:
        yield
    except TypeError as error:
        if not may_be_refused(one, f"TypeError: {error}"):
            raise


def may_be_refused(one: Any, seen: Any) -> bool:
    """Whether it has no spelling in every form: then a TypeError that says so is right."""
    return (
        isinstance(one, models.Manager | type)
        and isinstance(seen, str)
        and seen.startswith("TypeError: ")
        and "cannot be part of a cache key" in seen
    )


@pytest.mark.once
@pytest.mark.parametrize(
    "steps",
    [pytest.param(SHORT // 8, id="short"), pytest.param(LONG, id="long", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize(("first", "tokens"), ON_EACH)
def test_every_cached_answer_is_that_of_a_plain_call(
    ground: None, first: str, tokens: str, steps: int, settings: Any, record_property: Any
) -> None:
    settings.QUERYBUDGET = {"CACHE": {**settings.QUERYBUDGET["CACHE"], "ALIAS": tokens}}
    cache_stats(reset=True)
    run(Calls, first, tokens, steps)
    record_property("steps", Calls.steps)
    assert cache_stats().hits > Calls.steps // 2, "what is compared has to come from the cache"


# The proof can fail: with one thing taken out of the library, some answer is another's.


def _by_key_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(arguments, "spelled_state", lambda _: "")


def _filled_by_the_callers_instance(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(calls, "fresh", lambda instance, _: instance)


def _what_differs_from_its_row_is_stored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(instances, "_holds_same", lambda *_: True)


def _by_repr(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(keys._PLAIN, str, repr)


def _by_value_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(keys, "class_name", lambda _: "")


def _in_any_language(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(surroundings.Surroundings, "spelled", lambda self: f"{self.zone}{self.alias}")


def _in_any_zone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(surroundings.Surroundings, "spelled", lambda self: f"{self.language}{self.alias}")


def _by_any_router(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(through, "same_routes", lambda _: True)


def _whatever_it_closes_over(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(arguments.Reader, "_around", lambda *_: [])


def _whatever_state_a_manager_has(patch: pytest.MonkeyPatch) -> None:
    own = arguments._MANAGERS_OWN | {"title"}
    patch.setattr(arguments, "_MANAGERS_OWN", own)


# What each is looked for with: the steps that can show it among others, and things of few kinds.
# (That of all programs has no known length.)
HELD_ROWS = {"sources": ["held"], "forms": sorted(OF_ROWS), "routings": [False]}
PLAIN_VALUES = {"sources": ["values"], "routings": [False]}
TEXTS, CLASSES, MANAGERS = VALUES[:2], VALUES[2:5:2], VALUES[-2:]
PLANTED: dict[Any, tuple[set[str], dict[str, Any]]] = {
    _by_key_alone: ({"change_in_memory", "update", "hold"}, HELD_ROWS),
    _filled_by_the_callers_instance: ({"write_what_hangs_on_it", "update", "hold"}, HELD_ROWS),
    _what_differs_from_its_row_is_stored: ({"change_in_memory", "save", "update"}, HELD_ROWS),
    _by_repr: ({"speak", "write_what_is_found"}, PLAIN_VALUES | {"values_of": TEXTS}),
    _by_value_alone: ({"speak", "write_what_is_found"}, PLAIN_VALUES | {"values_of": CLASSES}),
    _in_any_language: ({"speak", "move", "write_what_is_found"}, {}),
    _in_any_zone: ({"speak", "move", "write_what_is_found"}, {}),
    _by_any_router: (
        {"route", "write_what_hangs_on_it", "update", "enter", "leave"},
        {**HELD_ROWS, "routings": [True]},
    ),
    _whatever_it_closes_over: (
        {"speak", "write_what_is_found"},
        {"forms": ["around", "around in a tuple", "bound"]},
    ),
    _whatever_state_a_manager_has: (
        {"speak", "write_what_is_found"},
        PLAIN_VALUES | {"values_of": MANAGERS},
    ),
}


STEPS = {
    "enter", "leave", "by_hand_begin", "by_hand_end", "hold", "change_in_memory", "save", "speak",
    "move", "route", "update", "delete", "write_what_hangs_on_it", "write_what_is_found",
    "write_past_the_hook",
}  # fmt: skip


def looking_for(steps: set[str], things: dict[str, Any]) -> type[Calls]:
    """Return programs of these steps, and of watching, alone."""
    assert steps <= STEPS
    others = {name: _plain_method(name) for name in STEPS - steps}
    return type("Looking", (Calls,), {**others, **things})


def _plain_method(name: str) -> Callable[..., None]:
    """Return what a step does, and is no step."""

    def method(self: Calls, *args: Any, **kwargs: Any) -> None:
        getattr(Calls, name)(self, *args, **kwargs)

    return method


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("plant", PLANTED)
@pytest.mark.parametrize(("first", "tokens"), ON_EACH[:1])
def test_a_planted_defect_is_found(
    ground: None, plant: Any, first: str, tokens: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random_programs, "PHASES", [Phase.generate])
    steps, things = PLANTED[plant]
    looking = looking_for(steps, things)
    run(looking, first, tokens, 100, seed=1)  # nothing of it is one without the defect
    plant(monkeypatch)
    with pytest.raises(AssertionError, match=" nor "):
        run(looking, first, tokens, 5000, seed=1)
