"""Where a query comes from: the line of the project's code, sync or async, template or serializer.

A stack is walked, never formatted: what is met is kept as it is, and :class:`Origin` is made of it
when somebody looks.

Whose line it is
    The nearest frame of the project: no standard library, no site-packages, no Django, not this
    library. With none on the stack (the admin, a project installed as a package) the nearest
    third-party frame that is not Django's.

Async code
    The ORM's async methods run on a worker thread, whose stack ends in asgiref's
    ``thread_handler``; the coroutine that awaits is a frame of no running stack. It is found from
    its task: the coroutines that a task awaits are a chain (``cr_await``), and the task that waits
    for this thread holds the very ``task_context`` list that ``thread_handler`` was given. The
    task that opened the capture is tried first; a child of ``gather`` is looked up among the tasks
    of its loop, up to a limit.
"""

from __future__ import annotations

from .origins import Origin, RawOrigin, SerializerField, position
from .tasks import THREAD_HANDLER, current_task
from .walking import (
    Trail,
    call_path,
    find_serializers,
    is_library,
    is_project,
    locate,
    origins_along,
    outward,
    trail,
)

__all__ = [
    "THREAD_HANDLER",
    "Origin",
    "RawOrigin",
    "SerializerField",
    "Trail",
    "call_path",
    "current_task",
    "find_serializers",
    "is_library",
    "is_project",
    "locate",
    "origins_along",
    "outward",
    "position",
    "trail",
]
