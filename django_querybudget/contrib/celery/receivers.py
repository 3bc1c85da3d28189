"""What hears of each run of a task: its begin, its end, the end of its process."""

from __future__ import annotations

import logging
from typing import Any

from celery import signals, states

from django_querybudget.budgets.by_view import MARK
from django_querybudget.conf import conf
from django_querybudget.work import Work, enforce_work, measured_work

__all__ = ["connect", "disconnect"]

logger = logging.getLogger("django_querybudget")

_UID = "django_querybudget"


class TaskRun(Work):
    """One run of a task."""

    def __init__(self, task: Any, task_id: str) -> None:
        super().__init__("task", str(task.name), declared=getattr(task.run, MARK, None))
        self.task_id = task_id


def connect() -> None:
    """Measure every task that runs from now on in this process, and in those that it forks."""
    signals.task_prerun.connect(_begun, weak=False, dispatch_uid=_UID)
    signals.task_postrun.connect(_ended, weak=False, dispatch_uid=_UID)
    _hear_first(signals.task_postrun)
    signals.worker_process_shutdown.connect(_process_ends, weak=False, dispatch_uid=_UID)


def _hear_first(signal: Any) -> None:
    """Let ours hear before all others.

    Whoever traces tasks ends the span at the task's end, and what we know belongs on it: where he
    was there first, he would be told first.
    """
    with signal.lock:
        signal.receivers.sort(key=lambda each: each[1] is not _ended)
        signal.sender_receivers_cache.clear()


def disconnect() -> None:
    """Undo :func:`connect`."""
    signals.task_prerun.disconnect(dispatch_uid=_UID)
    signals.task_postrun.disconnect(dispatch_uid=_UID)
    signals.worker_process_shutdown.disconnect(dispatch_uid=_UID)


def _begun(task_id: str, task: Any, **_: Any) -> None:
    try:
        if conf.ENABLED:
            TaskRun(task, task_id).begin()
    except Exception:  # Celery logs it as well, but not whose it is
        logger.exception("django_querybudget could not measure the task %s.", task_id)


def _ended(task_id: str, state: str | None = None, **_: Any) -> None:
    try:
        # The innermost that is this task's: a retry in a run of the same id ends first. None, if it
        # began before ENABLED was switched on, or could not be begun.
        run = measured_work.get()
        while run is not None and not (isinstance(run, TaskRun) and run.task_id == task_id):
            run = run.outer
        if run is not None:
            enforce_work(run.end(), in_flight=state != states.SUCCESS, may_raise=False)
    except Exception:  # as above
        logger.exception("django_querybudget could not measure the task %s.", task_id)


def _process_ends(**_: Any) -> None:
    # A process of the prefork pool ends without Python's own end, and so without atexit.
    if conf.PRODUCTION.written() is not None:
        from django_querybudget.production import current_record  # seldom needed

        record = current_record()
        if record is not None:
            record.stop()
