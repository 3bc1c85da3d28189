"""How settings are declared: a :class:`Setting` is a typed property of a :class:`Section`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar, overload

from django.conf import settings as django_settings
from django.utils.functional import empty

T = TypeVar("T")

logger = logging.getLogger("django_querybudget")

NO_VALUES: Mapping[str, Any] = {}
_ABSENT: Any = object()


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
        value = section.values().get(self.key, _ABSENT)
        if value is _ABSENT:
            return self.default
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
        # Read in every query of a request: without a call to written(), where that can be.
        parent = self.parent
        written = self.written() if parent is None else parent.values().get(self.name)
        if isinstance(written, dict):
            return written
        return written if isinstance(written, Mapping) else NO_VALUES

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
