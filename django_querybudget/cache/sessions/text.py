"""What a session decides, as text for a key: :func:`text_of`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.db import connections

from django_querybudget.cache.tags import digest
from django_querybudget.conf import conf

from .session import Unknown, session_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["everywhere", "is_default", "text_of", "variables_of", "writes_elsewhere"]

logger = logging.getLogger("django_querybudget")

# Options of a connection that change no answer.
_OTHER_OPTIONS = ("pool", "connect_timeout", "timeout", "ssl", "keepalives", "application_name")


def variables_of(connection: BaseDatabaseWrapper) -> Mapping[str, str | None]:
    """Return the variables that were set in the session, by name; None where not known.

    Raises :class:`Unknown` where nothing is known.
    """
    session = session_of(connection)
    if connection.connection is None:
        return {}
    if session.lost:
        raise Unknown(f"session state unknown: {session.lost}")
    return session.variables(connection)


def text_of(connection: BaseDatabaseWrapper) -> str:
    """Return what the session decides, as text for a key. Raises :class:`Unknown`."""
    variables = variables_of(connection)
    text = _login(connection)
    if variables:
        for name, value in sorted(variables.items()):
            if value is None:
                raise Unknown(f"session state unknown: {name}")
            text += f";{name}={value!r}"
    return text + _told(connection)


def is_default(connection: BaseDatabaseWrapper) -> bool:
    """Whether the session is as its settings alone make it."""
    try:
        return not variables_of(connection) and not _told(connection)
    except Unknown:
        return False


def everywhere() -> dict[str, str]:
    """Return the sessions of this thread's connections, by alias. Raises :class:`Unknown`."""
    return {
        connection.alias: text_of(connection)
        for connection in connections.all(initialized_only=True)
    }


def writes_elsewhere(connection: BaseDatabaseWrapper) -> bool:
    """Whether a statement may write another database than the connection's settings name."""
    base = session_of(connection).base
    return bool(base) and any(name.startswith(("database", "attached ")) for name in base)


def _told(connection: BaseDatabaseWrapper) -> str:
    """Return what the connection object and the project's callable say."""
    told = ""
    if (schema := getattr(connection, "schema_name", None)) is not None:
        public = getattr(connection, "include_public_schema", None)
        told = f";schema={schema!r},{public!r}"
    if (tell := conf.CACHE.SESSION) is not None:
        try:
            own = tell(connection)
        except Exception as error:
            name = conf.CACHE.path("SESSION")
            logger.exception("%s raised; nothing is cached for it.", name)
            raise Unknown(f"SESSION raised {type(error).__name__}") from None
        if own is not None and not isinstance(own, str):
            raise Unknown(f"SESSION returned {type(own).__name__}, not text")
        told += f";own={own!r}" if own else ""
    return told


def _login(connection: BaseDatabaseWrapper) -> str:
    """Return what the connection's settings decide: whose rights, and with which options."""
    options = connection.settings_dict
    known: tuple[Any, str] | None = getattr(connection, "_querybudget_login", None)
    if known is None or known[0] is not options:
        own = {
            name: _spelled_option(value)
            for name, value in (options.get("OPTIONS") or {}).items()
            if not str(name).startswith(_OTHER_OPTIONS)
        }
        text = digest(repr((options.get("USER"), options.get("TIME_ZONE"), sorted(own.items()))))
        known = (options, text[:8])
        connection._querybudget_login = known  # type: ignore[attr-defined]  # kept by the connection, as long as it lives
    return known[1]


def _spelled_option(value: object) -> str:
    """Return an option as text that is the same in all processes."""
    if isinstance(value, str | int | float | None):
        return repr(value)
    if isinstance(value, dict):
        return repr(sorted((str(key), _spelled_option(item)) for key, item in value.items()))
    return type(value).__name__
