"""The one database hook: an execute wrapper on every connection.

Django calls a connection's execute wrappers around every statement that it sends. This module puts
one wrapper, :func:`observe`, on every connection once, and leaves it there. It changes nothing: it
tells two kinds of listeners what ran.

*Recorders* belong to a context (a request, a ``with`` block) and hear of statements that are done:
:mod:`django_querybudget.capture` adds them with :func:`add_recorder`.

*Watchers* belong to the process and hear of every statement before and after it runs: what decides
whether cached data is still true subscribes with :func:`add_watcher`.

Why a permanent wrapper and a ContextVar
    Connections are per thread. A middleware that enters ``connection.execute_wrapper()`` puts its
    wrapper on its own thread's connections, and an async view queries on another's: it counts 0.
    A context follows the request through ``sync_to_async``, ``gather`` and
    ``thread_sensitive=False``.

Why at index 0
    Other wrappers (sqlcommenter's, say) may rewrite SQL; the one at index 0 sees what the ORM
    wrote. And the exit of ``connection.execute_wrapper()`` pops the last wrapper whatever it is,
    so the last place is not a safe one.

Not seen
    ``cursor.callproc()`` and psycopg's ``cursor.copy()`` pass by every execute wrapper. A plain
    ``threading.Thread`` starts with an empty context, unless Python 3.14 or later is told otherwise
    (``sys.flags.thread_inherit_context``): :func:`django_querybudget.capture.copy_context` hands it
    one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from django.db import connections
from django.db.backends.signals import connection_created

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger("django_querybudget")


class Recorder(Protocol):
    """Hears of a statement that is done, on the thread and the stack that ran it."""

    def __call__(
        self,
        sql: Any,
        params: Any,
        many: bool,
        connection: BaseDatabaseWrapper,
        started: float,
        duration: float,
        error: BaseException | None,
        cursor: Any,
    ) -> None:
        """Take one statement; ``started`` is of ``time.perf_counter()``, ``duration`` seconds.

        ``cursor`` is Django's, around the driver's: its rows are the host's, who fetches them next.

        ``sql`` is as the caller gave it: a ``str``, or a driver's own type (psycopg's
        ``Composed``). ``params`` of an ``executemany`` may be an iterator: leave it alone.
        """


class Watcher(Protocol):
    """Hears of every statement of the process, before and after it runs."""

    def before(self, sql: Any, params: Any, many: bool, connection: BaseDatabaseWrapper) -> Any:
        """The statement is about to be sent; :meth:`after` is given what this returns.

        Other statements may run before it is done: a wrapper of the host's may send some.
        """

    def after(
        self,
        sql: Any,
        params: Any,
        many: bool,
        connection: BaseDatabaseWrapper,
        error: BaseException | None,
        noted: Any,
        cursor: Any,
    ) -> None:
        """The statement is done on ``cursor``, Django's, with ``error`` if it failed.

        ``noted`` is what :meth:`before` returned for this statement, None if it raised.
        """


_WATCHER_FAILED = "django_querybudget: %r failed at a query; the query goes on."

_recorders: ContextVar[tuple[Recorder, ...]] = ContextVar("querybudget_recorders", default=())
_quiet: ContextVar[bool] = ContextVar("querybudget_quiet", default=False)
_watchers: tuple[Watcher, ...] = ()
_listening = False


def add_recorder(recorder: Recorder) -> None:
    """Let ``recorder`` hear of the statements of the current context, and of contexts copied."""
    _recorders.set((*_recorders.get(), recorder))


def remove_recorder(recorder: Recorder) -> None:
    """Undo :func:`add_recorder`; by identity, since scopes may end in another order."""
    _recorders.set(tuple(other for other in _recorders.get() if other is not recorder))


@contextmanager
def unobserved() -> Iterator[None]:
    """Let no recorder hear of this context's statements: they are this library's own."""
    token = _recorders.set(())
    quiet = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(quiet)
        _recorders.reset(token)


def is_unobserved() -> bool:
    """Whether this context is inside of :func:`unobserved`, for recorders that are watchers."""
    return _quiet.get()


def has_recorder(recorder: Recorder) -> bool:
    """Whether ``recorder`` hears of the statements of the current context."""
    return any(other is recorder for other in _recorders.get())


def add_watcher(watcher: Watcher) -> None:
    """Let ``watcher`` hear of every statement of this process. Adding it twice adds it once."""
    global _watchers
    if not any(other is watcher for other in _watchers):
        _watchers = (*_watchers, watcher)


def remove_watcher(watcher: Watcher) -> None:
    """Undo :func:`add_watcher`."""
    global _watchers
    _watchers = tuple(other for other in _watchers if other is not watcher)


def observe(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """The execute wrapper: run the statement as it is, and tell who listens."""
    recorders = _recorders.get()
    watchers = _watchers
    if not recorders and not watchers:
        return execute(sql, params, many, context)
    connection = context["connection"]
    # Without watchers no list is made and no two are zipped: a hundredth of the cheapest query.
    notes = [_noted(each, sql, params, many, connection) for each in watchers] if watchers else None
    error: BaseException | None = None
    started = perf_counter()
    try:
        return execute(sql, params, many, context)
    except BaseException as raised:
        error = raised
        raise
    finally:
        duration = perf_counter() - started
        cursor = context["cursor"]
        if notes is not None:
            for watcher, noted in zip(watchers, notes, strict=True):
                try:
                    watcher.after(sql, params, many, connection, error, noted, cursor)
                except Exception:  # Ours, not the host's: the query's own error goes on its way.
                    logger.exception(_WATCHER_FAILED, watcher.after)
        for record in recorders:
            try:
                record(sql, params, many, connection, started, duration, error, cursor)
            except Exception:  # As above.
                logger.exception("django_querybudget could not record a query; it did run.")
        # The error's traceback holds this frame: without this the two would be a cycle.
        error = None


def _noted(
    watcher: Watcher, sql: Any, params: Any, many: bool, connection: BaseDatabaseWrapper
) -> Any:
    try:
        return watcher.before(sql, params, many, connection)
    except Exception:  # Ours, not the host's: its query runs as if nobody watched.
        logger.exception(_WATCHER_FAILED, watcher.before)
        return None


def install(connection: BaseDatabaseWrapper) -> None:
    """Put :func:`observe` on ``connection``, once, before all other wrappers."""
    wrappers = connection.execute_wrappers
    if not any(wrapper is observe for wrapper in wrappers):
        wrappers.insert(0, observe)


def install_everywhere() -> None:
    """Put :func:`observe` on this thread's connections and on all that will be opened.

    Opens no connection. A connection that another thread opened before the first call cannot be
    reached; an app in ``INSTALLED_APPS`` is ready before threads are.
    """
    global _listening
    if not _listening:
        when_opened(_install_on_created, "django_querybudget.recording.hook")
        _listening = True
    for connection in connections.all(initialized_only=True):
        install(connection)


def when_opened(receiver: Callable[..., None], uid: str) -> None:
    """Call ``receiver`` with each connection that is opened, before all receivers that are there.

    What those send over the new connection is seen, then. Twice with one ``uid`` is harmless.
    """
    with connection_created.lock:
        known = len(connection_created.receivers)
    connection_created.connect(receiver, dispatch_uid=uid, weak=False)
    with connection_created.lock:
        receivers = connection_created.receivers
        if len(receivers) > known:
            receivers.insert(0, receivers.pop())
            connection_created.sender_receivers_cache.clear()


def _install_on_created(connection: BaseDatabaseWrapper, **_: Any) -> None:
    install(connection)
