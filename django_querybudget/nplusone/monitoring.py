"""Being told when certain functions are called: :func:`tell_of`.

By ``sys.monitoring`` (PEP 669), which costs nothing elsewhere; before Python 3.12 by
``sys.setprofile()``, which is asked at every call.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Collection
from types import CodeType, FrameType
from typing import Any

__all__ = ["tell_of"]


if sys.version_info >= (3, 12):

    def tell_of(
        codes: Collection[CodeType], tell: Callable[[FrameType], None], *, threads: bool = False
    ) -> Callable[[], None]:
        """Call ``tell`` with the frame of each call of ``codes``, until what is returned is called.

        ``threads`` is whether that is wanted of threads that begin later; from Python 3.12 on they
        tell in any case. Raises ``RuntimeError`` where no tool is free.
        """
        del threads
        monitoring = sys.monitoring
        tool = next((each for each in (4, 3) if monitoring.get_tool(each) is None), None)
        if tool is None:
            raise RuntimeError("watch_eager_loads() found no free tool of sys.monitoring.")
        event = monitoring.events.PY_START
        monitoring.use_tool_id(tool, "django_querybudget")

        def started(code: CodeType, offset: int) -> None:
            del code, offset
            tell(sys._getframe(1))

        monitoring.register_callback(tool, event, started)
        for code in codes:
            monitoring.set_local_events(tool, code, event)

        def stop() -> None:
            for code in codes:
                monitoring.set_local_events(tool, code, monitoring.events.NO_EVENTS)
            monitoring.register_callback(tool, event, None)
            monitoring.free_tool_id(tool)

        return stop

else:

    def tell_of(
        codes: Collection[CodeType], tell: Callable[[FrameType], None], *, threads: bool = False
    ) -> Callable[[], None]:
        if sys.getprofile() is not None:
            raise RuntimeError("watch_eager_loads() cannot watch: a profiler runs already.")

        def called(frame: FrameType, event: str, argument: Any) -> None:
            del argument
            if event == "call" and frame.f_code in codes:
                tell(frame)

        sys.setprofile(called)
        if threads:
            threading.setprofile(called)
        return lambda: sys.setprofile(None)
