"""The coroutine that waits for a worker thread: :func:`waiting_chain`.

Its frames are on no running stack. They are found from its task, by what it waits with.

Two ways of the interpreter's own are used, each where a case of the suite falls without it:
``sys._current_frames()`` for a coroutine that hands its query over and has not come to wait yet
(``test_a_coroutine_that_has_not_come_to_wait_yet_is_found_on_its_loops_stack``), and
``gc.get_referents()`` for what an awaited object keeps to itself: the generator of an ``async for``
(``test_async_for_and_an_async_generators_own_line``) and the future of a ``gather()`` (the corpus'
``gather`` cases).
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Collection
from contextvars import ContextVar
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE
from types import FrameType
from typing import Any

from asgiref.sync import AsyncToSync, SyncToAsync

__all__ = ["MAIN_WRAP", "THREAD_HANDLER", "current_task", "gathering_chain", "waiting_chain"]

current_task: ContextVar[asyncio.Task[Any] | None] = ContextVar("querybudget_task", default=None)
"""The task that opened the capture: set by it, read on the worker threads it queries from."""

# How many tasks of a loop are searched for the one that waits; past it the opening task stands in.
MOST_TASKS_SEARCHED = 256

MAIN_WRAP = AsyncToSync.main_wrap.__code__
THREAD_HANDLER = SyncToAsync.thread_handler.__code__
_GATHERING: Any = getattr(asyncio.tasks, "_GatheringFuture", None)
_MOST_FRAMES = 200
_WAITING_FILES = {asyncio.tasks.__file__, asyncio.taskgroups.__file__}
_AWAIT_THREAD = SyncToAsync.__call__.__code__


def waiting_chain(thread_handler: FrameType) -> list[FrameType]:
    """Return the frames of the task that waits for this worker thread, outermost first."""
    names = thread_handler.f_locals
    waits_with = names.get("task_context")
    own = current_task.get()
    opening = _chain(own) if own is not None else []
    if waits_with is None or _waits(opening, waits_with):
        return opening
    tasks = asyncio.all_tasks(names["loop"])
    if len(tasks) <= MOST_TASKS_SEARCHED:
        for task in tasks:
            chain = _chain(task)
            if _waits(chain, waits_with):
                return chain
    # A task that has not come to wait yet stands on the stack of its loop's thread; and it may
    # have come to wait by the time that has been looked at.
    return _running_chain(waits_with) or (_chain(own) if own is not None else [])


def gathering_chain(thread_handler: FrameType) -> list[FrameType]:
    """Return the frames of the tasks that started the one that waits, the outermost first.

    ``gather(*(Book.objects.aget(pk=pk) for pk in keys))`` makes a task of each, in which there is
    nothing but the ORM. What holds the task tells who waits for it; where nothing does, it is most
    likely the task that opened the capture, or the loop's only other one that waits for several.
    """
    own = current_task.get()
    if thread_handler.f_locals.get("task_context") is None:
        return _chain(own) if own is not None and _gathers(own) else []
    tasks = asyncio.all_tasks(thread_handler.f_locals["loop"])
    if len(tasks) <= MOST_TASKS_SEARCHED:
        chain = _starting_chain(tasks, thread_handler.f_locals["task_context"])
        if chain:
            return chain
        if own is None:
            gathering = [task for task in tasks if _gathers(task)]
            return _chain(gathering[0]) if len(gathering) == 1 else []
    return _chain(own) if own is not None and _gathers(own) else []


def _starting_chain(tasks: set[asyncio.Task[Any]], waits_with: object) -> list[FrameType]:
    """Return the frames of the tasks that wait for the one that waits, each for the next."""
    walks = {task: _walked(task) for task in tasks}
    task = next((each for each in tasks if _waits(walks[each][0], waits_with)), None)
    chain: list[FrameType] = []
    while task is not None and len(chain) < _MOST_FRAMES:
        waited_for = task
        task = next((each for each in tasks if _waits_for(*walks[each], waited_for)), None)
        chain[:0] = [] if task is None else walks[task][0]
    return chain


def _waits_for(frames: list[FrameType], awaited: Any, task: asyncio.Task[Any]) -> bool:
    """Whether a coroutine waits for ``task``, by itself or among others."""
    for each in (awaited, *gc.get_referents(awaited)):
        if each is task or (type(each) is _GATHERING and task in each._children):
            return True
    return any(
        value is task or task in _members(value)
        for frame in frames
        if frame.f_code.co_filename in _WAITING_FILES
        for value in frame.f_locals.values()
    )


def _members(value: object) -> Collection[Any]:
    """Return the tasks of a task group, or of what ``wait()`` was given."""
    if isinstance(value, asyncio.TaskGroup):
        value = getattr(value, "_tasks", ())
    return value if isinstance(value, set | list | tuple) else ()


def _gathers(task: asyncio.Task[Any]) -> bool:
    """Whether ``task`` waits for others: in ``gather()``, ``wait()``, a ``TaskGroup``."""
    frames, awaited = _walked(task)
    # `await future` is an iterator that keeps its future to itself.
    if any(type(each) is _GATHERING for each in (awaited, *gc.get_referents(awaited))):
        return True
    codes = (frame.f_code for frame in frames)
    return any(code.co_filename in _WAITING_FILES and code.co_name != "sleep" for code in codes)


def _running_chain(task_context: object) -> list[FrameType]:
    """Return the frames of the coroutine that runs, and is about to wait with ``task_context``."""
    for top in sys._current_frames().values():
        frame: FrameType | None = top
        chain: list[FrameType] = []
        while frame is not None:
            if frame.f_code.co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR):
                chain.append(frame)
            frame = frame.f_back
        chain.reverse()
        if _waits(chain, task_context):
            return chain
    return []


def _chain(task: asyncio.Task[Any]) -> list[FrameType]:
    """Return the frames that ``task`` is suspended in, outermost first."""
    return _walked(task)[0]


def _walked(task: asyncio.Task[Any]) -> tuple[list[FrameType], Any]:
    """Return the frames that ``task`` is suspended in, and what the innermost of them awaits."""
    frames = []
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None)
        if frame is not None:
            frames.append(frame)
            awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)
        elif type(awaited).__name__.startswith("async_generator_"):
            # `async for` and anext() await an object that keeps its generator to itself.
            awaited = next(
                (found for found in gc.get_referents(awaited) if hasattr(found, "ag_frame")), None
            )
        else:
            break
    return frames, awaited


def _waits(chain: list[FrameType], task_context: object) -> bool:
    return any(
        frame.f_code is _AWAIT_THREAD and frame.f_locals.get("task_context") is task_context
        for frame in reversed(chain)
    )
