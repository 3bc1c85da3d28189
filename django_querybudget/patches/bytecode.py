"""What Python compiled for this process of the project's files: :func:`remove_own`.

``manage.py`` imports settings and apps before a command runs, and ``.pyc`` files lie beside them
then. Who only wants a diff is promised that nothing of the project is changed.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

__all__ = ["remove_own"]

_STARTED = 19
"""Where ``/proc/self/stat`` has the start, behind the command's name, in ticks since the boot."""


def remove_own(root: Path) -> None:
    """Write no more ``.pyc`` files, and remove those below ``root`` that this process has written.

    They are caches: whoever else wanted one writes it again. Where the system does not tell when a
    process began (it is not Linux), those that are there stay.
    """
    began = _began()
    if began is None or sys.dont_write_bytecode:
        return
    sys.dont_write_bytecode = True
    base = os.path.realpath(root) + os.sep
    for module in tuple(sys.modules.values()):
        cached = getattr(getattr(module, "__spec__", None), "cached", None)
        if not isinstance(cached, str) or not os.path.realpath(cached).startswith(base):
            continue
        try:
            if "site-packages" not in cached and Path(cached).stat().st_mtime >= began:
                Path(cached).unlink()
                Path(cached).parent.rmdir()
        except OSError:
            continue  # It is gone already, or others are beside it.


def _began() -> float | None:
    """Return when this process began, in seconds since the epoch."""
    try:
        ticks = int(
            Path("/proc/self/stat")
            .read_text("ascii", "replace")
            .rsplit(")", 1)[1]
            .split()[_STARTED]
        )
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
    return time.time() - age
