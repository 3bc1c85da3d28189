"""Settings: one dict, ``QUERYBUDGET``; one typed property per setting, read live.

Each setting is declared once, with its default and what it accepts. The declaration serves two
readers: :mod:`django_querybudget.checks` reports every bad value at ``manage.py check``, and code
that meets a bad value in a request logs it once and goes on with the default.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar, cast, overload

from asgiref.sync import iscoroutinefunction
from django.conf import settings as django_settings
from django.http import HttpRequest
from django.utils.functional import empty
from django.utils.module_loading import import_string

T = TypeVar("T")

logger = logging.getLogger("django_querybudget")

_NO_VALUES: Mapping[str, Any] = {}


class InvalidSetting(ValueError):
    """A key that no setting has, or a value that its setting does not accept.

    ``name`` is the setting as a person writes it, ``hint`` the way out.
    """

    def __init__(self, name: str, problem: str, hint: str) -> None:
        super().__init__(f"{name} {problem}. {hint}")
        self.name = name
        self.problem = problem
        self.hint = hint


class Setting(Generic[T]):
    """A typed property for one key of a :class:`Section`.

    ``default`` stands for an absent key. ``parse`` turns what stands in the settings file into
    what the code uses, or raises; whatever it raises makes the value invalid. ``accepts`` completes
    the sentence "It accepts …".
    """

    def __init__(self, *, default: T, parse: Callable[[Any], T], accepts: str) -> None:
        self.default = default
        self.parse = parse
        self.accepts = accepts
        self.key = ""
        # The last value read and what it parsed to. Holding the value keeps its identity a key.
        self._last: tuple[object, T] | None = None

    def __set_name__(self, owner: type[Section], name: str) -> None:
        self.key = name

    @overload
    def __get__(self, section: None, owner: type[Section]) -> Setting[T]: ...
    @overload
    def __get__(self, section: Section, owner: type[Section]) -> T: ...
    def __get__(self, section: Section | None, owner: type[Section]) -> Setting[T] | T:
        if section is None:
            return self
        values = section.values()
        if self.key not in values:
            return self.default
        value = values[self.key]
        if self._last is not None and self._last[0] is value:
            return self._last[1]
        try:
            parsed = self.parsed(section, value)
        except InvalidSetting as error:
            logger.error("%s Going on with the default, %r.", error, self.default)
            parsed = self.default
        self._last = (value, parsed)
        return parsed

    def parsed(self, section: Section, value: object) -> T:
        """Return what ``value`` stands for. Raises :class:`InvalidSetting`."""
        try:
            return self.parse(value)
        except Exception as error:  # a module that is imported may raise anything
            reason = f" ({error})" if str(error) else ""
            raise InvalidSetting(
                section.path(self.key), f"is {value!r}{reason}", f"It accepts {self.accepts}."
            ) from error


class Section:
    """A dict of settings, read from the settings file at every access.

    A section is an attribute of another by declaring it there: ``CACHE = CacheSettings()``.
    """

    def __init__(self) -> None:
        self.name = ""
        self.parent: Section | None = None
        for name, attribute in vars(type(self)).items():
            if isinstance(attribute, Section):
                attribute.name, attribute.parent = name, self

    def written(self) -> object:
        """What stands in the settings file, whatever its type; None where it is absent."""
        if self.parent is None:
            # Past LazySettings, where it can be: there, an absent name costs 3 µs every time,
            # and its own attributes go through Python as well.
            wrapped = object.__getattribute__(django_settings, "_wrapped")
            return getattr(django_settings if wrapped is empty else wrapped, self.name, None)
        return self.parent.values().get(self.name)

    def values(self) -> Mapping[str, Any]:
        """The keys and values written; empty where the section is absent or no dict."""
        written = self.written()
        if isinstance(written, dict):
            return written
        return written if isinstance(written, Mapping) else _NO_VALUES

    def path(self, key: str) -> str:
        """The key as a person writes it: ``QUERYBUDGET["CACHE"]["ALIAS"]``."""
        own = self.name if self.parent is None else self.parent.path(self.name)
        return f'{own}["{key}"]'

    def errors(self) -> Iterator[InvalidSetting]:
        """Every unknown key and every value that its setting does not accept."""
        written = self.written()
        if written is not None and not isinstance(written, Mapping):
            name = self.name if self.parent is None else self.parent.path(self.name)
            yield InvalidSetting(name, f"is {written!r}", "It accepts a dict.")
            return
        members = {
            name: member
            for name, member in vars(type(self)).items()
            if isinstance(member, Setting | Section)
        }
        for key, value in self.values().items():
            member = members.get(key)
            if member is None:
                known = ", ".join(sorted(members))
                yield InvalidSetting(self.path(key), "is unknown", f"The settings are: {known}.")
            elif isinstance(member, Section):
                yield from member.errors()
            else:
                try:
                    member.parsed(self, value)
                except InvalidSetting as error:
                    yield error


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def fraction(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError
    return float(value)


def regexes(value: object) -> tuple[re.Pattern[str], ...]:
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise TypeError
    try:
        patterns = tuple(re.compile(item) for item in value)
    except re.error as error:
        raise ValueError(f"{error.pattern!r}: {error}") from error
    for pattern in patterns:
        if not isinstance(pattern.pattern, str):
            raise TypeError(f"{pattern.pattern!r} matches bytes, a path is text")
    return patterns


def number_of_repeats(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 2:
        raise ValueError
    return value


def number_of_bytes(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError
    return value


def reaction(value: object) -> str | None:
    if value not in (None, "raise", "warn", "log", "off"):
        raise ValueError
    return None if value is None else str(value)


def patterns(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise TypeError
    return tuple(value)


def imported_callable(value: object) -> Callable[..., Any]:
    """The callable that a dotted path names, or the callable itself."""
    found = import_string(value) if isinstance(value, str) else value
    if not callable(found):
        raise TypeError("it is not callable")
    return cast("Callable[..., Any]", found)


def budgets_by_view(value: object) -> Mapping[str, Any]:
    """The dict as it is: what its values stand for is known to ``view_budgets``, and checked."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError
    return value


def on_exceed_policy(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value in {"raise", "warn", "log"}):
        return value
    raise ValueError


def level(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 2:
        raise ValueError
    return value


def headers_policy(value: object) -> bool | Callable[[HttpRequest], bool] | None:
    if value is None or isinstance(value, bool):
        return value
    policy = imported_callable(value)
    if iscoroutinefunction(policy) or iscoroutinefunction(getattr(policy, "__call__", None)):  # noqa: B004
        # Its answer would be a coroutine, which is true: the headers would go to everybody.
        raise TypeError("it is async, and it is called without await")
    return policy


def strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise TypeError
    return tuple(value)


class IndexesSettings(Section):
    """The keys of ``QUERYBUDGET["INDEXES"]``."""

    IGNORE = Setting[tuple[str, ...]](
        default=(),
        parse=strings,
        accepts='a list of patterns of model labels or index names, ["payment.*", "one_review_*"]',
    )
    """Models and indexes that no check and no audit reports."""

    THIRD_PARTY = Setting(
        default=False,
        parse=boolean,
        accepts="True or False",
    )
    """Whether models of packages in site-packages are checked, audited and advised on too."""


def seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**31:
        raise ValueError
    return float(value)


def seconds_or_none(value: object) -> float | None:
    return None if value is None else seconds(value)


def nonempty_string(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def string_set(value: object) -> frozenset[str]:
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
        raise TypeError
    return frozenset(nonempty_string(item) for item in value)


def string_lists(value: object) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(value, Mapping):
        raise TypeError
    return {nonempty_string(key): tuple(sorted(string_set(item))) for key, item in value.items()}


def replicas(value: object) -> Mapping[str, tuple[str, float]]:
    if not isinstance(value, Mapping):
        raise TypeError
    parsed: dict[str, tuple[str, float]] = {}
    for alias, options in value.items():
        if not isinstance(options, Mapping) or set(options) != {"primary", "lag"}:
            raise ValueError(f"{alias!r} needs exactly the keys 'primary' and 'lag'")
        parsed[nonempty_string(alias)] = (
            nonempty_string(options["primary"]),
            seconds(options["lag"]),
        )
    return parsed


class CacheSettings(Section):
    """The keys of ``QUERYBUDGET["CACHE"]``.

    That the section is there, even empty, makes every process of the project invalidate; without
    it only those do that import :mod:`django_querybudget.cache`.
    """

    ALIAS = Setting(
        default="default",
        parse=nonempty_string,
        accepts="the alias of a cache in CACHES",
    )
    """The cache that holds the tokens, and the entries of who names no other."""

    TIMEOUT = Setting[float | None](
        default=300.0,
        parse=seconds_or_none,
        accepts="a number of seconds, or None for no limit",
    )
    """How long an entry lives at most, where the call site says nothing; seconds."""

    SCOPES = Setting[Mapping[str, tuple[str, ...]]](
        default={},
        parse=string_lists,
        accepts='a dict of models and their fields: {"payment.Payment": ["payer", "recipient"]}',
    )
    """Fields by whose value a table's entries are told apart when a row is written."""

    IGNORED_TABLES = Setting[frozenset[str]](
        default=frozenset({"django_session"}),
        parse=string_set,
        accepts="a list of table names",
    )
    """Tables whose writes invalidate nothing, and whose rows are never cached."""

    FUNCTIONS = Setting[frozenset[str]](
        default=frozenset(),
        parse=string_set,
        accepts="a list of names of database functions that only depend on their arguments",
    )
    """Database functions of the project's own that may stand in a cached query."""

    DECODED_BYTES = Setting(
        default=8 * 1024 * 1024,
        parse=number_of_bytes,
        accepts="a whole number of bytes, 0 for none",
    )
    """How much of what it read last each process keeps decoded; bytes as they are stored."""

    IN_FLIGHT_MARKS = Setting(
        default=True,
        parse=boolean,
        accepts="True or False",
    )
    """Whether a tag is marked before its rows are written: one round trip per set of tables."""

    MARK_TIMEOUT = Setting[float](
        default=30.0,
        parse=seconds,
        accepts="a number of seconds",
    )
    """How long a mark of a process that died keeps its tags out of the cache; seconds."""

    REPLICAS = Setting[Mapping[str, tuple[str, float]]](
        default={},
        parse=replicas,
        accepts='a dict of aliases: {"replica": {"primary": "default", "lag": 5}}, lag in seconds',
    )
    """Read replicas: whose rows they hold, and how far behind they may be."""

    CLOCK_SKEW = Setting[float](
        default=1.0,
        parse=seconds,
        accepts="a number of seconds",
    )
    """How far apart the clocks of the machines may be; seconds."""


class QueryBudgetSettings(Section):
    """The keys of ``QUERYBUDGET``."""

    def __init__(self) -> None:
        super().__init__()
        self.overrides: dict[str, Any] = {}
        """What wins over the settings file, for a test runner's options. Not for hosts."""

    def values(self) -> Mapping[str, Any]:
        """The keys and values written, and the overrides."""
        values = self.written()
        if not isinstance(values, Mapping):
            values = _NO_VALUES
        return {**values, **self.overrides} if self.overrides else values

    BUDGETS = Setting[Mapping[str, Any]](
        default={},
        parse=budgets_by_view,
        accepts=(
            'a dict of views ("jobs:list", "jobs:*", "/route/", "*", each with or without a '
            'method before it: "POST jobs:list") and their budgets (a number, a dict of '
            "dimensions, or None for no budget)"
        ),
    )
    """The budgets of views; the most specific name wins, a decorator's budget before all."""

    CACHE = CacheSettings()

    ENABLED = Setting(
        default=True,
        parse=boolean,
        accepts="True or False",
    )
    """Whether the middleware measures at all."""

    HEADERS = Setting[bool | Callable[[HttpRequest], bool] | None](
        default=None,
        parse=headers_policy,
        accepts=(
            "True, False, None (to DEBUG and INTERNAL_IPS only), or the dotted path of a callable "
            "that takes the request and returns whether to send the headers"
        ),
    )
    """Who is sent the headers. Timing leaks, so strangers are not, unless this says so."""

    IGNORE_PATHS = Setting[tuple[re.Pattern[str], ...]](
        default=(),
        parse=regexes,
        accepts="a list of regular expressions, searched for in request.path",
    )
    """Requests that are not measured: health checks, static files."""

    NPLUSONE = Setting[str | None](
        default=None,
        parse=reaction,
        accepts='"raise", "warn", "log", "off", or None (log in tests and with DEBUG, else off)',
    )
    """What becomes of an N+1 that a measured view or a test has; "off" reads no stack for it."""

    NPLUSONE_ALLOW = Setting[tuple[str, ...]](
        default=(),
        parse=patterns,
        accepts=(
            'a list of relations ("jobs.Job.client", "Job.*") and of globs of files '
            '("*/legacy/*.py")'
        ),
    )
    """N+1 queries that are known and accepted."""

    NPLUSONE_THRESHOLD = Setting[int](
        default=3,
        parse=number_of_repeats,
        accepts="a whole number of 2 or more",
    )
    """How often one line must run one shape before it is called a loop."""

    ON_EXCEED = Setting[str | None](
        default=None,
        parse=on_exceed_policy,
        accepts='"raise", "warn", "log", or None (raise in tests and with DEBUG, else log)',
    )
    """What happens when a budget is exceeded that does not say so itself."""

    ORIGINS = Setting(
        default=True,
        parse=boolean,
        accepts="True or False",
    )
    """Whether the middleware notes the line of code that each query comes from."""

    SAMPLE_RATE = Setting[float](
        default=1.0,
        parse=fraction,
        accepts="a number from 0 (no request is measured) to 1 (every request is)",
    )
    """The share of requests that are measured, drawn at random for each."""

    SHOW_PARAMETERS = Setting(
        default=False,
        parse=boolean,
        accepts="True or False",
    )
    """Whether reports show the queries' parameters, which may be secrets."""

    VERBOSITY = Setting(
        default=0,
        parse=level,
        accepts="0, 1 (all shapes and lines) or 2 (their whole SQL)",
    )
    """How much a report shows."""

    INDEXES = IndexesSettings()
    """Of the index checks, the audit and the advisor."""


conf = QueryBudgetSettings()
conf.name = "QUERYBUDGET"
