"""A response that is sent as it is made: :func:`measured_stream` records what it queries meanwhile.

Django runs a ``StreamingHttpResponse``'s queries after the middleware has returned, while the
server takes its content.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeGuard, cast

from django.http import StreamingHttpResponse

__all__ = ["is_streamed", "measured_stream"]

Scope = AbstractContextManager[Any]
"""What records while it is entered; entered for each chunk."""
Done = Callable[[bool], None]
"""Called once at the end, with whether the content came to its end."""
DoneAsync = Callable[[bool], Awaitable[None]]


def is_streamed(response: object) -> TypeGuard[StreamingHttpResponse]:
    """Whether its queries run while it is sent, and whether that can be watched.

    A file that the server may send with sendfile() is left alone: a wrapped one would turn it off.
    """
    return (
        isinstance(response, StreamingHttpResponse)
        and getattr(response, "file_to_stream", None) is None
    )


def measured_stream(
    response: StreamingHttpResponse, recording: Scope, done: Done, done_async: DoneAsync
) -> StreamingHttpResponse:
    """Let ``recording`` record while a stream is sent; one of the others is called at its end."""
    if response.is_async:
        chunks = cast("AsyncIterable[bytes]", response.streaming_content)
        response.streaming_content = MeasuredAsyncStream(chunks, recording, done, done_async)
    else:
        response.streaming_content = MeasuredStream(
            cast("Iterable[bytes]", response.streaming_content), recording, done
        )
    return response


class _Stream:
    """A response's content, measured while the server takes it; ``done`` is called once, then.

    ``done`` is told whether the content came to its end, and may raise if it did.

    Classes, not generators: a generator that never was started (a ``HEAD`` request, a client that
    went away) never reaches its ``finally``.
    """

    def __init__(self, recording: Scope, done: Done) -> None:
        self._recording = recording
        self._done: Done | None = done

    def close(self) -> None:
        """Report, unless that was done; Django calls this with ``response.close()``."""
        self._finish(complete=False)

    def _finish(self, *, complete: bool) -> None:
        __tracebackhide__ = True
        done, self._done = self._done, None
        if done is not None:
            done(complete)


class MeasuredStream(_Stream, Iterator[bytes]):
    """The content of a sync ``StreamingHttpResponse``."""

    def __init__(self, chunks: Iterable[bytes], recording: Scope, done: Done) -> None:
        super().__init__(recording, done)
        self._chunks = iter(chunks)

    def __next__(self) -> bytes:
        __tracebackhide__ = True
        try:
            with self._recording:
                return next(self._chunks)
        except BaseException as error:
            self._finish(complete=isinstance(error, StopIteration))
            raise


class MeasuredAsyncStream(_Stream, AsyncIterator[bytes]):
    """The content of an async ``StreamingHttpResponse``."""

    def __init__(
        self,
        chunks: AsyncIterable[bytes],
        recording: Scope,
        done: Done,
        done_async: DoneAsync,
    ) -> None:
        super().__init__(recording, done)
        self._done_async = done_async
        self._chunks = aiter(chunks)

    async def __anext__(self) -> bytes:
        __tracebackhide__ = True
        try:
            with self._recording:
                return await anext(self._chunks)
        except BaseException as error:
            done, self._done = self._done, None
            if done is not None:
                await self._done_async(isinstance(error, StopAsyncIteration))
            raise
