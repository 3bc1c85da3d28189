"""A trial as JSON for programs, and as one HTML file for a browser. Both have all of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from .page import growth_text, summary
from .trial import Trial

__all__ = ["as_html", "as_json"]

VERSION = 1
"""Of the JSON: raised when a key goes, or means something else."""


def as_json(trial: Trial, command: str, *, status: int, rows: int | None) -> str:
    """Return the whole trial."""
    return json.dumps(_data(trial, command, status, rows), indent=2, ensure_ascii=False)


def _data(trial: Trial, command: str, status: int, rows: int | None) -> dict[str, Any]:
    views = sorted(trial.views.values(), key=lambda each: (-each.queries, each.name))
    return {
        "version": VERSION,
        "command": command,
        "status": status,
        "rows": rows,
        "threshold": trial.threshold,
        "views": [asdict(each) for each in views],
        "loops": [asdict(each) for each in trial.loops],
        "packages": trial.packages,
        "indexes": trial.indexes,
        "missing_indexes": trial.missing,
        "few_rows": trial.few(),
        "grown": [asdict(each) for _, each in sorted(trial.grown.items())],
        "problems": trial.problems,
        "complete": not trial.cut,
    }


_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .75rem; border-bottom: 1px solid #8884; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { overflow-x: auto; padding: .75rem; background: #8881; border-radius: 4px; }
"""


def as_html(trial: Trial, command: str, *, status: int, rows: int | None) -> str:
    """Return the whole trial as one file that loads nothing; every name in it is escaped."""
    body = "\n".join(_body(trial, command, status, rows))
    title = escape(f"django-querybudget tried: {command}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n{body}\n</body></html>\n"
    )


def _body(trial: Trial, command: str, status: int, rows: int | None) -> Iterator[str]:
    data = _data(trial, command, status, rows)
    ended = f" The command ended with status {status}." if status else ""
    yield f"<p>{escape(summary(trial))}.{ended}</p>"
    yield "<h2>Views by queries</h2><table><tr>"
    yield '<th class="number">queries</th><th class="number">duplicates</th>'
    yield '<th class="number">ms</th><th>view</th></tr>'
    for view in data["views"]:
        cells = (view["queries"], view["duplicates"], f"{view['milliseconds']:.1f}")
        numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
        yield f"<tr>{numbers}<td>{escape(view['name'])}</td></tr>"
    yield "</table><h2>N+1 queries</h2>"
    for each in trial.loops:
        with_rows = "" if each.rows is None else f", with {each.rows} copies of each row"
        saved = f"{each.saves} queries less" if each.saves else "no line known"
        yield f"<h3>{saved}{with_rows}</h3><p>{escape(', '.join(each.views))}</p>"
        text = "\n".join(each.text)
        yield f"<pre>{escape(text)}</pre>"
    yield from _list("Indexes", (each["text"] for each in trial.indexes))
    yield from _list("Missing indexes", (each["text"] for each in trial.missing or ()))
    few = (
        f"{name}: {', '.join(map(trial.views[name].rows_text, models))}"
        for name, models in trial.few().items()
    )
    yield from _list(f"May have listed fewer than {trial.threshold} rows, which show no loop", few)
    grown = (growth_text(trial, each) for _, each in sorted(trial.grown.items()))
    yield from _list("With copies of the rows", grown)
    yield from _list("Not looked at", trial.problems)


def _list(title: str, texts: Iterable[str]) -> Iterator[str]:
    items = [f"<li>{escape(each)}</li>" for each in texts]
    if items:
        yield f"<h2>{escape(title)}</h2><ul>{''.join(items)}</ul>"


def check_writable(name: str) -> str:
    """Return why a file of that name cannot be written; nothing if it can."""
    path = Path(name)
    if path.is_dir():
        return f"{name} is a folder"
    if not path.absolute().parent.is_dir():
        return f"the folder of {name} is not there"
    return ""
