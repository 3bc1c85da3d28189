"""One call of a decorated function: where its answers are kept, and how they are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models import QuerySet

from django_querybudget.cache import tags
from django_querybudget.cache.keys import Unkeyable, entry_key, spelled
from django_querybudget.cache.payload.models import Changed
from django_querybudget.cache.payload.values import freeze_value, thaw_value
from django_querybudget.cache.sessions import Unknown, everywhere
from django_querybudget.cache.unbuilt import NOT_ASKED, unbuilt
from django_querybudget.cache.writing.instances import row_dependencies
from django_querybudget.sql.memory import Memo

from .audit import Again
from .codecs import Codec, rows_codec
from .fills import Fill, current_fill
from .instances import fresh, holds_instances
from .leases import read_through
from .querysets import cached, cached_class, capturing, is_typical
from .question import Question
from .questions import CannotCache, Options, rows_question
from .remembered import noted
from .surroundings import Surroundings, surroundings
from .template import look_of

if TYPE_CHECKING:
    from .arguments import Arguments
    from .functions import CachedFunction
    from .template import Template

__all__ = ["FunctionCall"]

_SHAPES = 256
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_SCALARS = ("count", "exists")


@dataclass(eq=False, kw_only=True, slots=True)
class FunctionCall:
    """A call of a decorated function, and a slice of what it returns."""

    function: CachedFunction
    template: Template
    arguments: Arguments
    spelled: str
    """What the arguments were when the function was called."""

    around: Surroundings
    options: Options
    key: tuple[str, ...]
    """The parts of the keys of all that is asked of it."""

    build: Callable[[], QuerySet[Any]]
    """Calls the function with what its caller gave it."""

    slices: tuple[tuple[int | None, int | None], ...] = ()

    # What an unbuilt queryset asks

    def queryset(self) -> QuerySet[Any]:
        """Return what the function returns for its caller, reading through the cache."""
        return cached(self._sliced(self._own()), self.options)

    def sliced(self, start: int | None, stop: int | None) -> QuerySet[Any]:
        """Return an unbuilt queryset of a slice."""
        made = replace(self, slices=(*self.slices, (start, stop)))
        return unbuilt(cached_class(type(self.template.queryset)), made)

    def answer(self, method: str, args: tuple[Any, ...] = (), **kwargs: Any) -> Any:
        """Return what a method of the queryset returns; ``rows`` and ``index`` are no methods.

        ``NOT_ASKED`` where the queryset itself has to answer.
        """
        asked = self.asked(method, args, kwargs)
        if asked is None:
            return NOT_ASKED
        question, read = asked
        found = read_through(question, read.compute, read.again)
        if method in ("rows", *_SCALARS):
            return found
        if method == "index":
            return found[0]  # or an IndexError, as Django's
        if method == "get" and not found:
            raise read.model.DoesNotExist(
                f"{read.model._meta.object_name} matching query does not exist."
            )
        return found[0] if found else None

    def asked(
        self,
        method: str,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] = _NOTHING,
        *,
        sessions: Mapping[str, str] | None = None,
    ) -> tuple[Question, _Read] | None:
        """Return what a method asks, and how it is answered; None if the queryset has to.

        ``sessions`` are those of this thread's connections, where the caller knows them.
        """
        asked_at = perf_counter()
        template = self.template
        asked = method
        if args or kwargs or self.slices:
            if holds_instances((args, kwargs)):
                return None  # by what of them is compared?
            try:
                asked = f"{method} {spelled((self.slices, args))} {spelled(dict(kwargs))}"
            except Unkeyable:
                return None
        if method not in ("rows", "index") and not _is_djangos(type(template.queryset), method):
            return None
        try:
            known = everywhere() if sessions is None else sessions
        except Unknown:
            return None  # with the reason
        read = _Read(self, method, args, kwargs)
        database = tags.database_name(self.around.alias or template.alias or DEFAULT_DB_ALIAS)
        try:
            key = _keys[self.key, asked, database, tuple(known.items())]
            return read.question(key, known, asked_at), read
        except CannotCache:
            return None  # the queryset meets it again, and notes the reason

    # How it is made

    def _now(self) -> Surroundings:
        template = self.template
        return surroundings(template.queryset.model, template.alias)

    def _own(self) -> QuerySet[Any]:
        """Return what the function returns, given what its caller gave it."""
        if self._now() == self.around:
            return self.build()
        with self.around.again():
            return self.build()

    def _sliced(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        for start, stop in self.slices:
            queryset = queryset[start:stop]
        return queryset

    def _fresh(self, fill: Fill) -> QuerySet[Any] | None:
        """Return what the function returns for the arguments' rows as they are now.

        None, with the reason in ``fill``, where that may be another answer than the caller's.
        """
        arguments = self.arguments
        if self._now() != self.around:
            fill.spoil("a language, time zone or database that has changed since the call")
            return None
        if self.function.spelled(arguments) != self.spelled:
            fill.spoil("an argument that has changed since the call")
            return None
        instead: dict[int, Any] = {}
        for instance in arguments.instances:
            again = fresh(instance, fill)
            if again is None:
                fill.spoil("an argument that differs from its row")
                return None
            instead[id(instance)] = again
        try:
            return self.function.checked(arguments.call(instead))
        except AttributeError:
            if not instead:
                raise
            fill.spoil("an attribute of an argument that its row does not give")
            return None

    def _shape_of(self, queryset: QuerySet[Any]) -> tuple[str, Any]:
        """Return a digest of the queryset's SQL, and what pins its rows.

        Raises :class:`CannotCache` for a queryset that must not be kept by arguments alone.
        """
        if not is_typical(queryset):
            raise CannotCache("a queryset that holds instances")
        question = rows_question(cached(queryset, self.options))
        return tags.digest(question.shape), question.pins

    def _note(self, shape: str) -> None:
        shapes = self.template.shapes
        if len(shapes) >= _SHAPES:
            shapes.clear()
        shapes.add(shape)

    def _check_shape(self, shape: str) -> None:
        """Raise :class:`Changed` for SQL that this process' code does not make.

        The function is called for that once per shape.
        """
        if shape in self.template.shapes:
            return
        try:
            own, _ = self._shape_of(self._own())
        except Exception as error:  # the fill will meet it again, and raise it
            raise Changed(self.function.name) from error
        self._note(own)
        if own != shape:
            raise Changed(self.function.name)


class _Read:
    """One read of a call: what is asked, and what is found for it."""

    def __init__(self, call: FunctionCall, method: str, args: Any, kwargs: Any) -> None:
        self._call = call
        self._method = method
        self._args = args
        self._kwargs = kwargs
        # What a kept answer is of, since its look is compared; read anew, it may be another.
        self.model: Any = call.template.queryset.model
        self._queryset: Any = None  # whose rows were read
        self._shape = ""

    def question(self, key: str, known: Mapping[str, str], asked_at: float) -> Question:
        call = self._call
        depends = frozenset(
            tag for each in call.arguments.instances for tag in row_dependencies(each)
        )
        kind = f"function {call.function.name}"
        return Question(
            key=key,
            shape=key,
            kind=kind,
            # Arguments that were not met before read what others have read, mostly.
            expected=depends if noted(key) else depends | noted(kind),
            required=depends,
            aliases=(),
            sessions=known,
            site=f"function {call.function.name}()",
            asked_at=asked_at,
            codec=Codec(self._method, self._freeze, self._prepare, self._thaw, _rows_alone),
            found=bool,
            timeout=call.options.timeout,
            refresh=call.options.refresh,
            cache=call.options.cache,
            user_tags=call.options.user_tags,
        )

    def again(self) -> Again:
        """Return how the read is repeated, to be audited."""
        call = self._call
        return Again(
            lambda: call.answer(self._method, self._args, **self._kwargs),
            not call.template.queryset.ordered,
        )

    def compute(self) -> Any:
        """Read from the database."""
        fill = current_fill()
        if fill is None or fill.reason:
            return self._read(self._call._own())
        built = self._call._fresh(fill)
        if built is None:
            return self._read(self._call._own())
        try:
            self._shape, pins = self._call._shape_of(built)
        except CannotCache as reason:
            fill.spoil(str(reason))
            return self._read(built)
        captured, fetched = capturing(built)
        with fill.next_reads(pins):
            answer = self._read(captured)
        self._queryset = fetched[-1] if fetched else None
        return answer

    def _read(self, built: QuerySet[Any]) -> Any:
        """Return a number, or the rows that are the answer."""
        queryset: Any = self._call._sliced(built)
        self.model = queryset.model
        if self._method in _SCALARS:
            return getattr(queryset, self._method)()
        if self._method == "rows":
            queryset._fetch_all()
            return queryset._result_cache
        try:
            if self._method == "index":
                found = queryset[self._args[0]]
            else:
                found = getattr(queryset, self._method)(*self._args, **self._kwargs)
        except (IndexError, queryset.model.DoesNotExist):  # an answer like another
            return []
        return [] if found is None and self._method in ("first", "last") else [found]

    def _freeze(self, answer: Any) -> Any:
        self._call._note(self._shape)
        is_scalar = self._method in _SCALARS
        return {
            "look": self._call.template.look if is_scalar else look_of(self._queryset),
            "shape": self._shape,
            "answer": freeze_value(answer)
            if is_scalar
            else rows_codec(self._queryset).freeze(answer),
        }

    def _prepare(self, payload: Any) -> Any:
        template = self._call.template
        if payload["look"] != template.look:
            raise Changed(self._call.function.name)
        content = payload["answer"]
        if self._method not in _SCALARS:
            content = template.codec.prepare(content)
        return template.look, payload["shape"], content

    def _thaw(self, prepared: Any) -> Any:
        look, shape, content = prepared
        template = self._call.template
        # It may have been prepared for another function of this name.
        if look != template.look:
            raise Changed(self._call.function.name)
        self._call._check_shape(shape)
        if self._method in _SCALARS:
            return thaw_value(content)
        return template.codec.thaw(content)


def _key(what: tuple[tuple[str, ...], str, str, tuple[tuple[str, str], ...]]) -> str:
    parts, asked, database, known = what
    return entry_key(*parts, asked, database, *(f"{alias} {text}" for alias, text in sorted(known)))


_keys = Memo(_key)
"""Keys of entries: by the call's parts, what is asked, the database and the sessions."""


def _rows_alone(payload: Any) -> Any:
    return payload["answer"]


def _is_djangos(queryset: type[QuerySet[Any]], method: str) -> bool:
    return getattr(queryset, method) is getattr(QuerySet, method)
