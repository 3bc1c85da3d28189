"""The function that a task holds: :func:`decorated_task` puts a decorator around it.

A decorator above a task's own is given the task, not the function; whoever runs the task asks it
for the function. Duck-typed, so that no framework is imported: tasks of Django's and of Celery's.
Celery's are proxies first: to look into one makes an app read its settings while modules are still
imported, and maybe the wrong app. So it is decorated when its app has made it.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["decorated_task"]

Decorate = Callable[[Callable[..., Any]], Callable[..., Any]]


def decorated_task(target: Any, decorate: Decorate) -> Any:
    """Return the task, whose function ``decorate`` was put around; None for what is no task.

    Raises ``TypeError`` for a task of a kind that is not known.
    """
    if type(target).__module__ == "celery.local":
        _when_made(target, lambda task: _replace_run(task, decorate))
        return target
    if callable(getattr(target, "enqueue", None)) and hasattr(target, "__dataclass_fields__"):
        return dataclasses.replace(target, func=decorate(target.func))
    if callable(getattr(target, "apply_async", None)) and callable(getattr(target, "run", None)):
        _replace_run(target, decorate)
        return target
    if inspect.isfunction(target):
        return None  # RQ's decorator leaves it one, whose worker asks the module for its name
    if hasattr(target, "apply_async") or hasattr(target, "enqueue"):
        raise _unknown(target)
    return None


def _unknown(task: Any) -> TypeError:
    return TypeError(
        f"{task!r} is a task, whose worker runs the function that it holds: put "
        "@query_budget below the task's decorator."
    )


def _replace_run(task: Any, decorate: Decorate) -> None:
    task.run = decorate(task.run)


def _when_made(proxy: Any, then: Callable[[Any], None]) -> None:
    """Call ``then`` with what Celery's proxy stands for, when it is there."""
    if hasattr(type(proxy), "__then__"):  # of @app.task, for the task of one app
        proxy.__then__(lambda: then(proxy._get_current_object()))
        return
    # Of @shared_task, for a task of each app; it is known by the name that each gives it.
    state: Any = sys.modules["celery._state"]
    made_by: Any = object.__getattribute__(proxy, "_Proxy__local")
    found = inspect.getclosurevars(made_by).nonlocals if inspect.isfunction(made_by) else {}
    if "fun" not in found:
        raise _unknown(made_by)
    function, name = found["fun"], found.get("name")

    def made(sender: Any, **_: Any) -> None:
        task_name = name or sender.gen_task_name(function.__name__, function.__module__)
        then(sender.tasks[task_name])

    def finalized(app: Any) -> None:
        app.on_after_finalize.connect(made, weak=False)

    state.connect_on_app_finalize(finalized)
    for app in state._get_active_apps():
        if app.finalized:
            made(app)
