"""For tests: at most so many queries, and no more with more data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, suppress
from sys import _getframe
from types import FrameType, TracebackType
from typing import Any, NoReturn, TypeVar, overload

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.test import LiveServerTestCase

from django_querybudget.budgets.budget import Budget
from django_querybudget.budgets.growth import QueryGrowth
from django_querybudget.recording.records import QueryLog
from django_querybudget.recording.warming import warm_django_caches
from django_querybudget.recording.wrapping import wrap_callable
from django_querybudget.reports.enforcement import enforce
from django_querybudget.reports.report import QueryReport, render_growth

from .capture import ProcessRecording, Recording
from .exceptions import QueryGrowthError
from .stacks import shown_path

__all__ = ["QueryBudgetTestMixin", "assert_max_queries", "assert_query_growth"]

T = TypeVar("T")


class MaxQueries:
    """A block that may execute so many queries; yields the block's :class:`QueryLog`.

    Raises :class:`~django_querybudget.exceptions.QueryBudgetExceeded`, an ``AssertionError``, at
    the end of a block that executed more; an exception of the block itself is left as it is.
    """

    def __init__(self, name: str, budget: Budget, *, across_threads: bool = False) -> None:
        self._name = name
        self._budget = budget
        recording = ProcessRecording if across_threads else Recording
        self._recording = recording(budget.using, threshold=budget.nplusone)

    def __enter__(self) -> QueryLog:
        warm_django_caches()
        return self._recording.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        __tracebackhide__ = True
        self._recording.__exit__()
        self._recording.close()
        if exc is None:
            report = QueryReport(name=self._name, log=self._recording.log, budget=self._budget)
            enforce(report, "raise")


@overload
def assert_max_queries(
    num: int | None,
    func: None = None,
    *,
    using: str | Collection[str] | None = None,
    across_threads: bool = False,
    **dimensions: object,
) -> MaxQueries: ...
@overload
def assert_max_queries(
    num: int | None,
    func: Callable[..., T],
    *args: object,
    using: str | Collection[str] | None = None,
    across_threads: bool = False,
    **kwargs: object,
) -> T: ...
def assert_max_queries(
    num: int | None,
    func: Callable[..., T] | None = None,
    *args: object,
    using: str | Collection[str] | None = None,
    across_threads: bool = False,
    **kwargs: object,
) -> MaxQueries | T:
    """Assert that a block, or ``func(*args, **kwargs)``, executes ``num`` queries at most.

    It is called as ``assertNumQueries`` is, but counts on all databases unless ``using`` names
    one. A block may be given the other dimensions of a budget too, and ``msg``, which its failure
    begins with::

        with assert_max_queries(3, duplicates=0) as log:
            client.get("/jobs/")

    ``across_threads`` counts what other threads query as well: a live server's. Returns the block,
    or what ``func`` returned. Raises ``QueryBudgetExceeded``, an ``AssertionError``, whose text is
    the report; ``TypeError`` or ``ValueError`` for a bad budget.
    """
    __tracebackhide__ = True
    if func is None:
        if args:
            raise TypeError(f"{args!r} are arguments of no function: give func.")
        message = kwargs.pop("msg", None) or ""
        budget = Budget.of({"max_queries": num, "using": using, "message": message, **kwargs})
        return MaxQueries(_caller(_getframe(1)), budget, across_threads=across_threads)
    if iscoroutinefunction(func):
        raise TypeError(f"{func!r} is async: await it in a block, `with assert_max_queries(…):`.")
    name = f"{getattr(func, '__qualname__', func)}()"
    with MaxQueries(name, Budget(num, using=using), across_threads=across_threads):
        return func(*args, **kwargs)


class QueryBudgetTestMixin:
    """Adds :meth:`assertMaxQueries` to a test case."""

    def assertMaxQueries(  # noqa: N802 - as assertNumQueries
        self,
        num: int | None,
        func: Callable[..., Any] | None = None,
        *args: Any,
        using: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """As :func:`assert_max_queries`; the queries of a ``LiveServerTestCase``'s server count."""
        __tracebackhide__ = True
        kwargs.setdefault("across_threads", isinstance(self, LiveServerTestCase))
        return assert_max_queries(num, func, *args, using=using, **kwargs)


def measured(
    function: Callable[..., T],
    name: str,
    budget: Budget | None,
    *,
    across_threads: bool = False,
    tell: Callable[[QueryLog], None],
    fail: Callable[[str], NoReturn],
) -> Callable[..., T]:
    """Return the test function ``function`` with its calls held to ``budget``; ``tell`` gets logs.

    For test runners' plugins. ``fail`` makes the test fail with the report's text, in the runner's
    own way: no frame of the test is left to raise from. A test that fails otherwise is left to
    fail as it does.
    """
    recording_class = ProcessRecording if across_threads else Recording
    using = budget.using if budget is not None else None
    threshold = budget.nplusone if budget is not None else None

    def done(recording: Recording, error: BaseException | None, result: object) -> None:
        __tracebackhide__ = True
        del result
        recording.close()
        if error is None:
            tell(recording.log)
            try:
                enforce(QueryReport(name=name, log=recording.log, budget=budget), "raise")
            except AssertionError as exceeded:
                text = str(exceeded)
            else:
                return
            fail(text)

    return wrap_callable(function, lambda: recording_class(using, threshold=threshold), done)


def assert_query_growth(
    populate: Callable[[int], Any],
    measure: Callable[[], Any],
    sizes: Sequence[int] = (2, 8),
    *,
    max_slope: float = 0.0,
    using: str | Collection[str] | None = None,
) -> QueryGrowth:
    """Assert that ``measure()`` executes no more queries when there are more rows.

    For each size, ``populate(size)`` makes that many rows, and ``measure()`` runs; what both wrote
    is rolled back, so every size starts from the same data. Either may be a coroutine function.
    The counts of each shape are fitted to a line, and a shape that grows by more than
    ``max_slope`` queries per row fails: :class:`~django_querybudget.exceptions.QueryGrowthError`,
    an ``AssertionError``, names it. Returns what was measured. That ``populate`` makes rows, and
    that ``measure()`` reads them, is yours to see to: nothing grows where nothing is made.

    The code must query through the test's own connections: another thread's (a live server on a
    real database) do not see uncommitted rows. Raises ``ValueError`` for fewer than two sizes.
    """
    __tracebackhide__ = True
    if len(set(sizes)) < 2 or any(
        isinstance(size, bool) or not isinstance(size, int) or size < 0 for size in sizes
    ):
        raise ValueError(f"sizes is {sizes!r}; it accepts two or more different whole numbers.")
    populate, measure = _sync(populate), _sync(measure)
    smallest, *_ = ordered = sorted(set(sizes))
    # What is cached by the first run would be counted for the first size alone.
    _measured_at(smallest, populate, measure, using)
    growth = QueryGrowth({size: _measured_at(size, populate, measure, using) for size in ordered})
    if steep := growth.above(max_slope):
        raise QueryGrowthError(render_growth(growth, steep, max_slope), growth=growth)
    return growth


def _measured_at(
    size: int,
    populate: Callable[[int], Any],
    measure: Callable[[], Any],
    using: str | Collection[str] | None,
) -> QueryLog:
    aliases = {DEFAULT_DB_ALIAS} | {
        connection.alias
        for connection in connections.all(initialized_only=True)
        if connection.connection is not None
    }
    with ExitStack() as transactions:
        for alias in sorted(aliases):
            # A database that this test may not use: what it cannot write needs no rollback.
            with suppress(Exception):
                transactions.enter_context(transaction.atomic(using=alias))
                transactions.callback(transaction.set_rollback, True, using=alias)
        populate(size)
        recording = Recording(using)
        with recording as log:
            measure()
        recording.close()
    return log


def _caller(frame: FrameType) -> str:
    """Return the block's place: the nearest frame that is not of this module."""
    while frame.f_code.co_filename == __file__ and frame.f_back is not None:
        frame = frame.f_back
    return f"the block at {shown_path(frame.f_code.co_filename)}:{frame.f_lineno}"


def _sync(function: Callable[..., Any]) -> Callable[..., Any]:
    return async_to_sync(function) if iscoroutinefunction(function) else function
