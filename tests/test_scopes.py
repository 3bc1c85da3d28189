"""wrap_callable(): a scope around a call, whatever kind of callable it is."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import asgiref.sync
import pytest

from django_querybudget.recording.wrapping import wrap_callable


class Scope(AbstractContextManager[None]):
    def __init__(self) -> None:
        self.open = False
        self.entered = 0
        self.ended: list[BaseException | None] = []

    def __enter__(self) -> None:
        assert not self.open
        self.open = True
        self.entered += 1

    def __exit__(self, *exc_info: object) -> None:
        self.open = False


@pytest.fixture
def scope() -> Scope:
    return Scope()


def wrapped(function: Any, scope: Scope) -> Any:
    return wrap_callable(
        function, lambda: scope, lambda scope, error, result: scope.ended.append(error)
    )


def test_a_function(scope: Scope) -> None:
    def function(a: int, *, b: int) -> int:
        """Add."""
        assert scope.open
        return a + b

    call = wrapped(function, scope)
    assert call(1, b=2) == 3
    assert (scope.open, scope.ended) == (False, [None])
    assert (call.__name__, call.__doc__, call.__wrapped__) == ("function", "Add.", function)


def test_a_function_that_raises(scope: Scope) -> None:
    error = LookupError()

    def function() -> None:
        raise error

    with pytest.raises(LookupError):
        wrapped(function, scope)()
    assert (scope.open, scope.ended) == (False, [error])


def test_the_calls_exception_is_not_hidden_by_the_end_of_the_scope() -> None:
    def done(scope: Scope, error: BaseException | None, result: object) -> None:
        if error is None:
            raise ZeroDivisionError

    def broken() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        wrap_callable(broken, Scope, done)()
    with pytest.raises(ZeroDivisionError):
        wrap_callable(lambda: None, Scope, done)()


def test_a_coroutine_function_is_in_its_scope_until_it_returns(scope: Scope) -> None:
    async def function() -> str:
        assert scope.open
        await asyncio.sleep(0)
        assert scope.open
        return "done"

    call = wrapped(function, scope)
    assert inspect.iscoroutinefunction(call)
    assert asgiref.sync.iscoroutinefunction(call)
    assert asyncio.run(call()) == "done"
    assert scope.ended == [None]


def returns_it(function: Any) -> Any:
    def plain() -> Any:
        return function()

    return plain


@pytest.mark.parametrize("disguise", [partial, returns_it])
def test_a_coroutine_in_disguise_is_awaited_in_its_scope(scope: Scope, disguise: Any) -> None:
    async def function() -> None:
        await asyncio.sleep(0)
        assert scope.open

    asyncio.run(wrapped(disguise(function), scope)())
    assert scope.ended == [None]


def test_a_cancelled_coroutine_ends_its_scope(scope: Scope) -> None:
    async def main() -> None:
        task = asyncio.create_task(wrapped(asyncio.sleep, scope)(60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert [type(error) for error in scope.ended] == [asyncio.CancelledError]


def test_a_generator_leaves_its_scope_between_values(scope: Scope) -> None:
    def function() -> Generator[str, str, str]:
        assert scope.open
        got = yield "first"
        assert scope.open
        yield got
        return "result"

    def consume() -> Generator[str, str, str]:
        return (yield from wrapped(function, scope)())

    generator = consume()
    assert next(generator) == "first"
    assert not scope.open
    assert generator.send("sent") == "sent"
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == "result"
    assert (scope.open, scope.ended) == (False, [None])


def test_a_generator_gets_what_is_thrown_into_it(scope: Scope) -> None:
    def function() -> Generator[str, None, None]:
        try:
            yield "first"
        except LookupError:
            assert scope.open
            yield "caught"

    generator = wrapped(function, scope)()
    next(generator)
    assert generator.throw(LookupError()) == "caught"
    with pytest.raises(ZeroDivisionError):
        generator.throw(ZeroDivisionError())
    assert [type(error) for error in scope.ended] == [ZeroDivisionError]


def test_a_generator_that_is_closed_closes_its_own(scope: Scope) -> None:
    closed = []

    def function() -> Generator[int, None, None]:
        try:
            yield 1
        finally:
            closed.append(scope.open)

    generator = wrapped(function, scope)()
    next(generator)
    generator.close()
    assert closed == [True]
    assert [type(error) for error in scope.ended] == [GeneratorExit]


def test_an_async_generator_leaves_its_scope_between_values(scope: Scope) -> None:
    async def function() -> AsyncGenerator[str, str]:
        got = yield "first"
        assert scope.open
        await asyncio.sleep(0)
        try:
            yield got
        except LookupError:
            yield "caught"

    async def main() -> None:
        generator = wrapped(function, scope)()
        assert await anext(generator) == "first"
        assert not scope.open
        assert await generator.asend("sent") == "sent"
        assert await generator.athrow(LookupError()) == "caught"
        with pytest.raises(StopAsyncIteration):
            await anext(generator)

    asyncio.run(main())
    assert (scope.open, scope.ended) == (False, [None])


def test_an_async_generator_that_is_closed_closes_its_own(scope: Scope) -> None:
    closed = []

    async def function() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            closed.append(scope.open)

    async def main() -> None:
        generator = wrapped(function, scope)()
        await anext(generator)
        await generator.aclose()

    asyncio.run(main())
    assert closed == [True]
    assert [type(error) for error in scope.ended] == [GeneratorExit]


def test_an_async_generator_that_raises(scope: Scope) -> None:
    async def function() -> AsyncGenerator[int, None]:
        yield 1
        raise LookupError

    async def main() -> None:
        with pytest.raises(LookupError):
            [_ async for _ in wrapped(function, scope)()]

    asyncio.run(main())
    assert [type(error) for error in scope.ended] == [LookupError]


def test_what_was_returned_is_told() -> None:
    told: list[Any] = []

    async def coroutine() -> str:
        return "awaited"

    def generator() -> Generator[int, None, None]:
        yield 1

    def done(scope: Scope, error: BaseException | None, result: Any) -> None:
        told.append(result)

    wrap_callable(lambda: "called", Scope, done)()
    asyncio.run(wrap_callable(coroutine, Scope, done)())
    list(wrap_callable(generator, Scope, done)())
    assert told == ["called", "awaited", None]
