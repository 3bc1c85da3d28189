"""The whole explanation of a view as plain data, by the schema in ``explanation.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .budgets import budgets_of
from .caching import cache_of
from .counts import Known, known, last_run_of, recorded_of
from .findings import findings_of
from .indexes import indexes_of
from .production import production_of
from .views import Asked, View, views_of

__all__ = ["VERSION", "explanation", "schema"]

VERSION = 1
"""Of the data: raised when a key goes, or means something else."""


def explanation(text: str, file: Path) -> dict[str, Any]:
    """Return all that is known of the view that ``text`` names; the names where it names several.

    ``file`` is the ``querybudget.toml``. Raises :class:`~.views.UnknownView`.
    """
    asked = views_of(text)
    if asked.listed:
        return {"version": VERSION, "views": [_named(each) for each in asked.views]}
    (view,) = asked.views
    files = known(file)
    methods = methods_of(asked, view, files)
    return {
        "version": VERSION,
        "view": {**_named(view), "methods": methods},
        "budget": budgets_of(view, methods),
        "recorded": recorded_of(files, view, asked.method),
        "last_run": last_run_of(files, view, asked.method),
        "production": production_of(view, methods),
        "findings": findings_of(files, view, asked.method),
        "indexes": indexes_of(files, view, asked.method),
        "cache": cache_of(view, methods),
    }


def methods_of(asked: Asked, view: View, files: Known) -> list[str]:
    """Return the methods that were asked for; else those that the view is known to answer.

    A function does not say which it answers: they are those that were seen, else ``GET``.
    """
    if asked.method:
        return [asked.method]
    seen: Iterable[str] = (name.partition(" ")[0] for name in files.lines_of(view, ""))
    known_ones = {*view.methods, *seen, *files.runs_of(view, "")}
    return sorted(known_ones) or ["GET"]


def schema() -> dict[str, Any]:
    """Return the JSON Schema of :func:`explanation`."""
    path = Path(__file__).with_name("explanation.json")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _named(view: View) -> dict[str, Any]:
    return {
        "name": view.name,
        "routes": list(view.routes),
        "functions": [
            {"name": each.name, "file": each.file or None, "line": each.line}
            for each in view.functions
        ],
    }
