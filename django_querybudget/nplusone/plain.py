"""Findings as plain data, for other processes and programs, and what one of them is called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from django_querybudget.stacks import Origin

from .findings import Finding, Fix

__all__ = ["finding_id", "plain", "plain_fix"]

_COMPREHENSION = re.compile(r"\.<locals>\.<(?:list|set|dict)comp>")


def plain(finding: Finding) -> dict[str, Any]:
    """Return a finding as plain data, without its fix."""
    origin: Origin | None = finding.origin
    return {
        "cause": finding.cause.name.lower(),
        "relation": finding.relation,
        "operation": finding.operation,
        "place": "" if origin is None else origin.place,
        "template": None if origin is None else origin.template,
        "function": "" if origin is None else origin.function,
        "queries": finding.count,
        "saves": finding.saves,
        "use": finding.use,
        "replaces": finding.replaces,
        "hint": finding.hint,
        "database": finding.alias,
        "shape": finding.fingerprint,
    }


def plain_fix(fix: Fix) -> dict[str, Any]:
    """Return the line to write as plain data."""
    return {
        "code": fix.code,
        "place": None if fix.place is None else fix.place.place,
        "where": fix.where or ("before or after the loop" if fix.in_loop else "at"),
        "built": fix.built,
        "imports": list(fix.imports),
        "note": fix.note,
        "replaces": list(fix.replaces),
    }


def finding_id(finding: Mapping[str, Any], table: str) -> str:
    """Return eight characters for a finding of :func:`plain`: what it is and where, not its line.

    The file, the function and the template tell where; the cause, the relation, the method and the
    table what. So it stays the same while lines above it come and go, and columns of the table.
    """
    path = finding["place"].rpartition(":")[0]
    template = (finding["template"] or "").rpartition(":")[0]
    # Before Python 3.12 a comprehension is a function of its own.
    function = _COMPREHENSION.sub("", finding["function"])
    parts = [path, function, template]
    parts += [finding["cause"], finding["relation"], finding["operation"], table]
    return blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=4).hexdigest()
