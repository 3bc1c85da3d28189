"""The N+1 queries that the last test run found in a view, each with the line to write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django_querybudget.exceptions import QueryBudgetError
from django_querybudget.messages.links import message_link
from django_querybudget.ratchet.last_fix import key_of

from .counts import Known
from .views import View

__all__ = ["UnknownFinding", "every_finding", "finding_of", "findings_of"]


class UnknownFinding(QueryBudgetError):
    """The last test run has no finding of this id: the text has those that it has."""


MOST_IDS = 10


def findings_of(files: Known, view: View, method: str) -> dict[str, Any]:
    """Return the findings of one view."""
    runs = files.runs_of(view, method)
    unknown = "" if runs else files.not_reached(view)
    unlooked = [own for own, run in runs.items() if not run.causes]
    if unlooked:
        unknown = (
            f"No N+1 queries were looked for ({', '.join(unlooked)}): QUERYBUDGET["
            '"NPLUSONE"] was "off".'
        )
    found = [
        _told(files, f"{own} {view.name}", each)
        for own, run in runs.items()
        for each in run.findings
    ]
    return {"unknown": unknown, "findings": found}


def every_finding(files: Known) -> Iterator[dict[str, Any]]:
    """Yield the findings of all views, those of most queries first. One may be of several views."""
    views = {} if files.last is None else files.last.views
    told = [_told(files, name, each) for name, run in views.items() for each in run.findings]
    yield from sorted(told, key=lambda each: (-each["queries"], each["id"], each["view"]))


def finding_of(files: Known, name: str) -> dict[str, Any]:
    """Return the finding of an id. Raises :class:`UnknownFinding`."""
    if files.no_last:
        raise UnknownFinding(f"{files.no_last} Findings are those of the last test run.")
    by_id: dict[str, dict[str, Any]] = {}
    for each in every_finding(files):
        by_id.setdefault(each["id"], each)
    if name not in by_id:
        shown = ", ".join(list(by_id)[:MOST_IDS]) or "none"
        more = f" and {len(by_id) - MOST_IDS} more" if len(by_id) > MOST_IDS else ""
        raise UnknownFinding(f"The last test run has no finding {name!r}; it has {shown}{more}.")
    return by_id[name]


def _told(files: Known, view: str, finding: Mapping[str, Any]) -> dict[str, Any]:
    file, line = _parted(finding["place"])
    return {
        "id": finding["id"],
        "view": view,
        "cause": finding["cause"],
        "relation": finding["relation"],
        "operation": finding["operation"],
        "table": finding["table"],
        "database": finding["database"],
        "queries": finding["queries"],
        "saves": finding["saves"],
        "file": file,
        "line": line,
        "function": finding["function"],
        "template": finding["template"],
        "shape": finding["shape"],
        "suggested": _suggested(finding["fix"]),
        "use": finding["use"],
        "replaces": finding["replaces"],
        "hint": finding["hint"],
        "text": finding["text"],
        **_patch_of(files, finding),
        "docs": message_link(finding["cause"].replace("_", "-")),
    }


def _patch_of(files: Known, finding: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the patch of a finding and its proof; else why there is none."""
    if files.fix is None:
        return _unproved(files.no_fix)
    identity = finding["id"].partition("-")[0]
    attempt = files.fix.attempts.get(key_of(identity, finding["place"]))
    if attempt is None:
        return _unproved(f"The last fix, {files.fix.at}, did not see it: run it again.")
    if changed := files.fix.changed(attempt):
        names = ", ".join(changed)
        return _unproved(f"Changed since the last fix, {files.fix.at}: {names}. Run it again.")
    if attempt.patch:
        return {"patch": attempt.patch, "proof": attempt.proof, "unproved": ""}
    if attempt.outcome == "proved":
        why = "A file of the patch is not UTF-8, which JSON is: fix --diff FILE writes it."
        return {**_unproved(why), "proof": attempt.proof}
    what = {
        "withdrawn": "Its patch was withdrawn",
        "uncompared": "Its patch saves and the tests pass, but no answer was compared",
        "not written": "No patch was written",
        "not tried": "The time limit of the last fix came before its patch was tried",
    }[attempt.outcome]
    return _unproved(f"{what}: {attempt.reason}." if attempt.reason else f"{what}.")


def _unproved(why: str) -> dict[str, str | None]:
    return {"patch": None, "proof": None, "unproved": why}


def _suggested(fix: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if fix is None:
        return None
    file, line = _parted(fix["place"] or "")
    kept = ("code", "where", "built", "imports", "note", "replaces")
    return {"file": file, "line": line, **{name: fix[name] for name in kept}}


def _parted(place: str) -> tuple[str | None, int | None]:
    file, _, line = place.rpartition(":")
    return (file, int(line)) if file and line.isdecimal() else (None, None)
