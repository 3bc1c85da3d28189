"""Where a query comes from: the line of the project's code, sync or async, template or serializer.

A stack is walked, never formatted: what is met is kept as it is, and :class:`Origin` is made of it
when somebody looks.

Whose line it is
    The nearest frame of the project: no standard library, no site-packages, no Django, not this
    library. The walk ends where the framework answers a request, at Django's handlers, a
    class-based view's ``dispatch()`` or ``get()``, an API's router: what is further out (a
    middleware, a decorator, a test's client) passes the request on, and asks for nothing. A method
    that calls its own name of a framework's class (``super().get_context_data()``) passes on too.

    With no line of the project within that, a framework worked for something the project wrote: a
    viewset, a ``ModelAdmin``, a router's function, a resolver. See :class:`Host`. With none of
    these (a project installed as a package), the nearest third-party frame that is not Django's.

Other tools
    Those that watch queries send their own, and wrap those of others: see :mod:`.tools`.

Async code
    The ORM's async methods run on a worker thread, whose stack ends in asgiref's
    ``thread_handler``; the coroutine that awaits is a frame of no running stack. It is found from
    its task: the coroutines that a task awaits are a chain (``cr_await``), and the task that waits
    for this thread holds the very ``task_context`` list that ``thread_handler`` was given. The
    task that opened the capture is tried first; a child of ``gather`` is looked up among the tasks
    of its loop, up to a limit.
"""

from __future__ import annotations

from .files import is_djangos, is_library, is_project, is_project_file
from .hosts import Host, HostKind, RawHost, attribute_line, view_of
from .origins import Origin, RawOrigin, SerializerField, position, shown_path
from .tasks import THREAD_HANDLER, current_task
from .tools import is_tools_own, tools_imported
from .walking import (
    TOOLS_OWN,
    Trail,
    call_path,
    find_serializers,
    locate,
    origins_along,
    outward,
    trail,
    way_along,
    whole_trail,
)

__all__ = [
    "THREAD_HANDLER",
    "TOOLS_OWN",
    "Host",
    "HostKind",
    "Origin",
    "RawHost",
    "RawOrigin",
    "SerializerField",
    "Trail",
    "attribute_line",
    "call_path",
    "current_task",
    "find_serializers",
    "is_djangos",
    "is_library",
    "is_project",
    "is_project_file",
    "is_tools_own",
    "locate",
    "origins_along",
    "outward",
    "position",
    "shown_path",
    "tools_imported",
    "trail",
    "view_of",
    "way_along",
    "whole_trail",
]
