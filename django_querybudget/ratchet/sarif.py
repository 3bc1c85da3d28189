"""A comparison as SARIF 2.1.0 (OASIS, 2020), for code scanning and editors."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any

from django_querybudget import __version__

from .comparison import Change, Comparison
from .text import change_lines, link

__all__ = ["sarif"]

_RULE = "querybudget/above-line"


def sarif(comparison: Comparison, path: str) -> str:
    """Return a log with one result for each failure, at the lines of the shapes that came in."""
    driver = {
        "name": "django-querybudget",
        "version": __version__,
        "rules": [
            {
                "id": _RULE,
                "shortDescription": {"text": "A view executes more queries than recorded."},
                "defaultConfiguration": {"level": "error"},
            }
        ],
    }
    results = [_result(change, path) for change in comparison.above]
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _result(change: Change, path: str) -> dict[str, Any]:
    places = [shape.place for shape, _ in change.came_in if shape.place is not None]
    locations = [_location(place.path, place.line) for place in places]
    return {
        "ruleId": _RULE,
        "level": "error",
        "message": {"text": "\n".join([*change_lines(change), link()])},
        "locations": locations[:1] or [_location(path, 1)],
        "relatedLocations": locations[1:],
        "partialFingerprints": {"view/v1": ".".join(change.key)},
    }


def _location(path: str, line: int) -> dict[str, Any]:
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": PurePath(path).as_posix()},
            "region": {"startLine": line},
        }
    }
