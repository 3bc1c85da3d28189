"""``capture_queries()``: the queries of a block or a function, as a :class:`QueryLog`."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Collection, Reversible
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from django_querybudget.recording.aliases import checked_aliases
from django_querybudget.recording.recorders import make_recorder
from django_querybudget.recording.records import QueryLog
from django_querybudget.recording.wrapping import wrap_callable

from .conf import conf
from .evidence import Evidence
from .recording import hook
from .stacks import current_task

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["ProcessRecording", "Recording", "capture_queries", "copy_context", "last_entered"]

P = ParamSpec("P")
R = TypeVar("R")


class Recording:
    """A :class:`QueryLog` being written: on while it is entered, as often as wanted.

    ``using`` is as in :class:`capture_queries`; without ``origins`` no stack is walked, and the
    records have no origin. ``causes`` is whether the stack is read when a shape repeats, so that
    the cause of an N+1 can be named; by default, unless the setting says "off". ``threshold`` is
    how many repeats are an N+1; the setting's if it is None.

    A scope that is suspended (a generator between two values, a stream between two chunks) leaves
    its recording and enters it again, so that what its consumer queries meanwhile is not its own.
    After :meth:`close` nothing is added, whatever tasks still run in copies of the context, and
    none of them holds the log. Not to be entered twice at the same time.
    """

    close: Callable[[], None]
    """End the recording for good."""

    def __init__(
        self,
        using: str | Collection[str] | None = None,
        *,
        origins: bool = True,
        threshold: int | None = None,
        causes: bool | None = None,
    ) -> None:
        self.log = QueryLog()
        if causes is None:
            causes = conf.NPLUSONE != "off"
        if origins and (threshold is not None or causes):
            self.log.evidence = Evidence(threshold or conf.NPLUSONE_THRESHOLD, self.log.raw)
        self._outer_task: asyncio.Task[Any] | None = None
        self._recorder, self.close = make_recorder(
            self.log, checked_aliases(using), origins, conf.MAX_RECORDS
        )

    def __enter__(self) -> QueryLog:
        hook.install_everywhere()
        self._outer_task = current_task.get()
        current_task.set(_running_task() or self._outer_task)
        hook.add_recorder(self._recorder)
        return self.log

    @property
    def is_on(self) -> bool:
        """Whether it is entered in the current context."""
        return hook.has_recorder(self._recorder)

    def __exit__(self, *exc_info: object) -> None:
        hook.remove_recorder(self._recorder)
        current_task.set(self._outer_task)


class ProcessRecording(Recording):
    """A recording of every thread and context of the process, not of the current context alone.

    For a test whose server runs in another thread (``LiveServerTestCase``): that thread's context
    is a copy of no other.
    """

    def __enter__(self) -> QueryLog:
        hook.install_everywhere()
        hook.add_watcher(self)
        return self.log

    def __exit__(self, *exc_info: object) -> None:
        hook.remove_watcher(self)

    def before(
        self, sql: object, params: object, many: bool, connection: BaseDatabaseWrapper
    ) -> float:
        """Note when the statement is sent."""
        del sql, params, many, connection
        return perf_counter()

    def after(
        self,
        sql: object,
        params: object,
        many: bool,
        connection: BaseDatabaseWrapper,
        error: BaseException | None,
        noted: float,
        cursor: Any,
    ) -> None:
        """Record the statement."""
        started, duration = noted, perf_counter() - noted
        if not hook.is_unobserved():
            self._recorder(sql, params, many, connection, started, duration, error, cursor)


class capture_queries:  # noqa: N801 - a context manager reads as a function
    """Capture the queries of a block, or of a function's calls.

    ``using`` is the alias, or the aliases, to listen to; all databases if it is None. As a context
    manager it yields the :class:`QueryLog`, in sync and in async code alike::

        with capture_queries() as log:
            list(Job.objects.all())
        assert log.count == 1

    As a decorator of a function, coroutine function or (async) generator function it captures each
    call apart; ``last_log`` of the decorated function is the log of the call that ended last::

        @capture_queries(using="replica")
        def report(): ...

        report()
        print(report.last_log)

    Captures nest: each log has all queries of its own block. ``across_threads`` captures what every
    thread of the process queries meanwhile, for a test with a live server. Raises ``ValueError``
    for an alias that is not in ``DATABASES`` and for no alias at all, ``TypeError`` for one that is
    no string.
    """

    def __init__(
        self, using: str | Collection[str] | None = None, *, across_threads: bool = False
    ) -> None:
        checked_aliases(using)
        self._using = using
        self._recording_class = ProcessRecording if across_threads else Recording
        self._recordings: list[Recording] = []

    def __enter__(self) -> QueryLog:
        recording = self._recording_class(self._using)
        self._recordings.append(recording)
        return recording.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        recording = last_entered(self._recordings)
        self._recordings.remove(recording)
        recording.__exit__()
        recording.close()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        def finished(recording: Recording, error: BaseException | None, result: object) -> None:
            del error, result
            recording.close()
            wrapped.last_log = recording.log  # type: ignore[attr-defined]  # an attribute of a function

        wrapped = wrap_callable(function, lambda: self._recording_class(self._using), finished)
        return wrapped


def last_entered(recordings: Reversible[Recording]) -> Recording:
    """Return which of the recordings that one context manager has open is to be left now.

    Tasks and threads may share the context manager: it is the last that this context entered.
    """
    newest_first = list(reversed(recordings))
    return next((each for each in newest_first if each.is_on), newest_first[0])


def copy_context(function: Callable[P, R]) -> Callable[P, R]:
    """Return ``function`` bound to the current context, for a thread to run.

    A ``threading.Thread`` starts with an empty context, and so does each of a
    ``ThreadPoolExecutor``: what they query counts for no capture. (Python 3.14 and later can be
    told to hand threads the context, but a pool's is that of whoever came first.) Hand it on::

        Thread(target=copy_context(work)).start()
        pool.map(copy_context(work), keys)
    """
    context = contextvars.copy_context()

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        # A context can be entered by one thread at a time; an executor calls this from several.
        return context.copy().run(function, *args, **kwargs)

    return run


def _running_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # No loop runs in this thread.
        return None
