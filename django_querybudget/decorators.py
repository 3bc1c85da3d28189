"""``query_budget``: a budget for a view, a task, a function or a block.

Whose queries count
    Those of the call, generators while they run. A view's budget counts until its response is
    done: a ``TemplateResponse`` is rendered, a stream sent, after the view has returned. Where
    :class:`~django_querybudget.middleware.QueryBudgetMiddleware` measures the request, it looks
    after the budget of the request's view, with the count that the headers tell.

Never over another exception
    A call that fails is not made to fail otherwise: what it exceeded is logged then. The check
    comes at the end of the scope, so no transaction inside of it is rolled back. An ``atomic()``
    around it is, as by any exception.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import nullcontext
from datetime import date
from functools import partial
from sys import _getframe
from types import MethodType, TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from django.conf import settings

from django_querybudget.budgets.budget import Budget
from django_querybudget.budgets.by_view import MARK, declared_on_view, measured_request
from django_querybudget.recording.aliases import checked_aliases
from django_querybudget.recording.records import QueryLog
from django_querybudget.recording.streams import is_streamed, measured_stream
from django_querybudget.recording.task_functions import decorated_task
from django_querybudget.recording.wrapping import wrap_callable
from django_querybudget.reports.enforcement import enforce, in_tests
from django_querybudget.reports.report import QueryReport
from django_querybudget.routing.decorated import decorated

from .capture import Recording, last_entered
from .stacks import shown_path
from .work import measured_work

if TYPE_CHECKING:
    from django.http import StreamingHttpResponse

__all__ = ["query_budget"]

F = TypeVar("F")


class query_budget:  # noqa: N801 - a decorator, and a context manager that reads as a function
    """Let a callable or a block execute ``max_queries`` queries at most.

    The dimensions are :class:`~django_querybudget.budgets.Budget`'s. ``on_exceed`` is ``"raise"``
    (:class:`~django_querybudget.exceptions.QueryBudgetExceeded`), ``"warn"``, ``"log"``, or None
    for the setting ``ON_EXCEED``. What exceeds it is told with ``message`` before the report. It
    decorates function views, class-based views and their methods,
    viewset actions, ninja operations (*below* the router's decorator), tasks of Celery's and
    Django's (above or below the task's) and plain functions, sync, async and generators::

        @query_budget(3, duplicates=0)
        def job_list(request): ...

        with query_budget(max_queries=1) as log:
            list(Job.objects.all())

    Raises ``TypeError`` or ``ValueError`` for a bad budget, and for what cannot be decorated.
    """

    def __init__(  # noqa: PLR0913 - a budget's dimensions, each by its name
        self,
        max_queries: int | None = None,
        *,
        duplicates: int | None = None,
        similar: int | None = None,
        writes: int | None = None,
        rows: int | None = None,
        duration: float | None = None,
        nplusone: int | None = None,
        using: str | Collection[str] | None = None,
        until: date | str | None = None,
        issue: str = "",
        on_exceed: str | None = None,
        message: str = "",
    ) -> None:
        if callable(max_queries):
            raise TypeError("query_budget takes the budget first: write @query_budget(10).")
        if on_exceed not in (None, "raise", "warn", "log"):
            raise ValueError(f'on_exceed is {on_exceed!r}; it accepts "raise", "warn" or "log".')
        self.budget = Budget(
            max_queries,
            duplicates=duplicates,
            similar=similar,
            writes=writes,
            rows=rows,
            duration=duration,
            nplusone=nplusone,
            using=using,
            until=until,
            issue=issue,
            message=message,
        )
        if settings.configured:
            # As early as can be; a module that is imported while settings load is checked later.
            checked_aliases(self.budget.using)
        self.on_exceed = on_exceed
        self._blocks: dict[Recording, str] = {}

    def __enter__(self) -> QueryLog:
        caller = _getframe(1)
        path = shown_path(caller.f_code.co_filename)
        recording = self._recording()
        self._blocks[recording] = f"the block at {path}:{caller.f_lineno}"
        return recording.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        __tracebackhide__ = True
        recording = last_entered(self._blocks)
        name = self._blocks.pop(recording)
        recording.__exit__()
        self._check(recording, name, in_flight=exc is not None)

    def __call__(self, target: F) -> F:
        # First: to ask one of Celery's proxies for its class is to look into it.
        if (task := decorated_task(target, self._decorate)) is not None:
            return cast("F", task)
        if isinstance(target, type):
            return cast("F", self._decorate_class(target))
        if isinstance(target, staticmethod | classmethod):
            return cast("F", type(target)(self._decorate(target.__func__)))
        if not callable(target):
            raise TypeError(f"query_budget decorates callables and views, not {target!r}.")
        return cast("F", self._decorate(target))

    def _decorate_class(self, cls: Any) -> type:
        if not callable(getattr(cls, "as_view", None)) or not callable(
            getattr(cls, "dispatch", None)
        ):
            raise TypeError(f"{cls!r} is no class-based view: decorate its methods.")
        dispatch = cls.dispatch
        if "dispatch" not in vars(cls) and hasattr(dispatch, MARK):
            # The base class' budget is replaced, not added to.
            dispatch = dispatch.__wrapped__
        # Not dispatch's own name: that is mostly the framework's.
        cls.dispatch = self._decorate(dispatch, f"{cls.__module__}.{cls.__qualname__}")
        return cast("type", cls)

    def _decorate(self, function: Callable[..., Any], name: str = "") -> Callable[..., Any]:
        name = name or _name_of(function)

        def open_scope() -> Any:
            request = measured_request.get()
            if request is not None and declared_on_view(request) is self:
                # The middleware looks after it, and would find that no query is of such a database.
                checked_aliases(self.budget.using)
                return nullcontext()
            return self._recording()

        def done(scope: object, error: BaseException | None, result: object) -> None:
            __tracebackhide__ = True
            if isinstance(scope, Recording):
                self._end(scope, name, error, result)

        wrapper = wrap_callable(function, open_scope, done)
        setattr(wrapper, MARK, self)
        decorated[wrapper] = "query_budget"
        return wrapper

    def _end(
        self, recording: Recording, name: str, error: BaseException | None, result: object
    ) -> None:
        """Check now, or when the response is done that the call returned."""
        __tracebackhide__ = True
        if is_streamed(result):
            self._check_when_streamed(recording, name, result)
        elif getattr(result, "is_rendered", True) is False:
            self._check_when_rendered(recording, name, result)
        else:
            self._check(recording, name, in_flight=error is not None)

    def _check_when_streamed(
        self, recording: Recording, name: str, response: StreamingHttpResponse
    ) -> None:
        def done(complete: bool) -> None:
            __tracebackhide__ = True
            self._check(recording, name, in_flight=not complete or not in_tests())

        async def done_async(complete: bool) -> None:
            __tracebackhide__ = True
            done(complete)

        measured_stream(response, recording, done, done_async)

    def _check_when_rendered(self, recording: Recording, name: str, response: Any) -> None:
        def render() -> Any:
            __tracebackhide__ = True
            # Callbacks of render() may pickle the response: leave nothing on it.
            del response.render
            try:
                with recording:
                    rendered = response.render()
            except BaseException:
                self._check(recording, name, in_flight=True)
                raise
            self._check(recording, name, in_flight=False)
            return rendered

        response.render = render

    def _check(self, recording: Recording, name: str, *, in_flight: bool) -> None:
        __tracebackhide__ = True
        recording.close()
        report = QueryReport(name=name, log=recording.log, budget=self.budget)
        if (work := measured_work.get()) is not None:
            work.note_judged(self, report)
        enforce(report, self.on_exceed, in_flight=in_flight)

    def _recording(self) -> Recording:
        return Recording(self.budget.using, threshold=self.budget.nplusone)


def _name_of(function: object) -> str:
    # method_decorator() has each call decorate a partial of the bound method.
    if isinstance(function, partial) and isinstance(function.func, MethodType):
        owner = function.func.__self__
        cls = owner if isinstance(owner, type) else type(owner)
        return f"{cls.__module__}.{cls.__qualname__}.{function.func.__name__}"
    name: str = getattr(function, "__qualname__", repr(function))
    module = getattr(function, "__module__", None)
    return f"{module}.{name}" if module else name
