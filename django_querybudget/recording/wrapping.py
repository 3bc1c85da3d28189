"""Running a callable inside of a scope, whatever kind of callable it is.

A sync wrapper around a coroutine function would leave the scope before the first ``await``, and
one around a generator function before the first value: each kind needs a wrapper of its own.

A *scope* is a context manager that may be entered and left many times. It is left while a
generator is suspended: what the consumer does between two values is not the generator's doing.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from asgiref.sync import iscoroutinefunction

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=AbstractContextManager[Any])
Done = Callable[[S, BaseException | None, Any], None]
"""Called once when the callable is done: with the exception that ended it or None, and with what it
returned; None for a generator."""

__all__ = ["drive", "wrap_callable"]


def wrap_callable(
    function: Callable[P, R], open_scope: Callable[[], S], done: Done[S]
) -> Callable[P, R]:
    """Return ``function`` with every call inside of a scope of its own.

    ``function`` may be sync or async, a generator function of either sort, or a function that
    returns a coroutine; the result is of the same kind. ``done`` may raise when it is called with
    None: that becomes the call's exception. An exception of the call itself is raised as it is.
    """

    def sync_call(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True
        scope = open_scope()
        try:
            with scope:
                result = function(*args, **kwargs)
        except BaseException as error:
            done(scope, error, None)
            raise
        if inspect.iscoroutine(result):
            return cast("R", _await(result, scope, done))
        done(scope, None, result)
        return result

    # A coroutine function, not one that returns a coroutine: inspect and asyncio both know it.
    async def async_call(*args: P.args, **kwargs: P.kwargs) -> Any:
        __tracebackhide__ = True
        return await _await(cast("Any", function(*args, **kwargs)), open_scope(), done)

    def generate(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, Any]:
        return drive(cast("Any", function(*args, **kwargs)), open_scope(), done)

    def generate_async(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, Any]:
        return _drive_async(cast("Any", function(*args, **kwargs)), open_scope(), done)

    wrapper: Callable[..., Any] = sync_call
    if inspect.isasyncgenfunction(function):
        wrapper = generate_async
    elif inspect.isgeneratorfunction(function):
        wrapper = generate
    elif iscoroutinefunction(function):
        wrapper = async_call
    return cast("Callable[P, R]", wraps(function)(wrapper))


async def _await(coroutine: Coroutine[Any, Any, Any], scope: S, done: Done[S]) -> Any:
    __tracebackhide__ = True
    try:
        with scope:
            result = await coroutine
    except BaseException as error:
        done(scope, error, None)
        raise
    done(scope, None, result)
    return result


def drive(generator: Generator[Any, Any, Any], scope: S, done: Done[S]) -> Generator[Any, Any, Any]:
    """Yield what ``generator`` yields, inside of ``scope`` while it runs; see PEP 380."""
    __tracebackhide__ = True
    sent: Any = None
    thrown: BaseException | None = None
    try:
        while True:
            with scope:
                try:
                    value = generator.send(sent) if thrown is None else generator.throw(thrown)
                except StopIteration as stop:
                    result = stop.value
                    break
            sent, thrown = None, None
            try:
                sent = yield value
            except GeneratorExit:
                with scope:
                    generator.close()
                raise
            except BaseException as error:
                thrown = error
    except BaseException as error:
        done(scope, error, None)
        raise
    done(scope, None, None)
    return result


async def _drive_async(
    generator: AsyncGenerator[Any, Any], scope: S, done: Done[S]
) -> AsyncGenerator[Any, Any]:
    """Yield what ``generator`` yields, inside of ``scope`` while it runs; see PEP 525."""
    __tracebackhide__ = True
    sent: Any = None
    thrown: BaseException | None = None
    try:
        while True:
            with scope:
                try:
                    value = await (
                        generator.asend(sent) if thrown is None else generator.athrow(thrown)
                    )
                except StopAsyncIteration:
                    break
            sent, thrown = None, None
            try:
                sent = yield value
            except GeneratorExit:
                with scope:
                    await generator.aclose()
                raise
            except BaseException as error:
                thrown = error
    except BaseException as error:
        done(scope, error, None)
        raise
    done(scope, None, None)
