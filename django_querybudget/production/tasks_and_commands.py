"""Tasks and commands that tell of themselves: Django's tasks, ``manage.py``'s command."""

from __future__ import annotations

import atexit
import logging
import sys
from importlib.util import find_spec
from types import CodeType
from typing import Any

from django_querybudget.budgets.by_view import MARK
from django_querybudget.conf import conf
from django_querybudget.work import Work, enforce_work

__all__ = ["begin", "end"]

logger = logging.getLogger("django_querybudget")

NOT_MEASURED = frozenset(
    "check dbshell makemigrations querybudget runserver runserver_plus shell shell_plus test "
    "testserver "
    # Django's tasks, django-rq, Channels, Django Q, huey, dramatiq, Procrastinate.
    "db_worker rqworker rqworker-pool rqscheduler runworker qcluster run_huey rundramatiq "
    "procrastinate".split()
)
"""Commands that serve, ask a person, are tests, or work on tasks for as long as they live: what
those query is their tasks'."""

_MOST_RUNNING = 1000

_tasks: dict[str, Work] = {}
_command: Work | None = None


def begin() -> None:
    """Measure Django's tasks, and the command that this process was started with."""
    global _command
    if find_spec("django.tasks") is not None:  # Django 6.0
        from django.tasks import signals

        signals.task_started.connect(_task_started, dispatch_uid="querybudget")
        signals.task_finished.connect(_task_finished, dispatch_uid="querybudget")
    name = _running_command()
    if name and name not in NOT_MEASURED and _command is None:
        _command = Work("command", name, causes=False)
        _command.begin()
        atexit.register(_command_ended)  # before the record's own: the last comes first


def end() -> None:
    """Undo :func:`begin`."""
    _command_ended()
    if find_spec("django.tasks") is not None:
        from django.tasks import signals

        signals.task_started.disconnect(dispatch_uid="querybudget")
        signals.task_finished.disconnect(dispatch_uid="querybudget")
    _tasks.clear()


def _task_started(task_result: Any, **_: Any) -> None:
    try:
        if conf.ENABLED and len(_tasks) < _MOST_RUNNING:
            task = task_result.task
            running = Work("task", task.module_path, declared=getattr(task.func, MARK, None))
            _tasks[task_result.id] = running
            running.begin()
    except Exception:  # Django lets a receiver's exception end the task
        logger.exception("django_querybudget could not measure a task.")


def _task_finished(task_result: Any, **_: Any) -> None:
    try:
        running = _tasks.pop(task_result.id, None)
        if running is not None:
            # Its result is known: nothing that is raised now would reach anybody.
            enforce_work(running.end(), in_flight=bool(task_result.errors), may_raise=False)
    except Exception:  # as above
        logger.exception("django_querybudget could not measure a task.")


def _command_ended() -> None:
    global _command
    running, _command = _command, None
    if running is not None:
        running.end()


def _running_command() -> str:
    """Return the name of the command that sets Django up at this moment; empty if none does."""
    module: Any = sys.modules.get("django.core.management")
    if module is None:
        return ""
    # Not sys.argv: a server's or a test's is no command, and execute_from_command_line() may be
    # given other arguments.
    execute: CodeType = module.ManagementUtility.execute.__code__
    frame = sys._getframe()
    while (outer := frame.f_back) is not None:
        if outer.f_code is execute:
            return str(outer.f_locals.get("subcommand", ""))
        frame = outer
    return ""
