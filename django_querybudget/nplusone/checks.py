"""System check of ``QUERYBUDGET["NPLUSONE_ALLOW"]``: relations that no model has.

The package's ``checks`` registers it, and imports this when it runs: a server's process that
runs no checks loads nothing of the causes.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Warning
from django.db.models import Model

from django_querybudget.conf import conf
from django_querybudget.evidence.relations import step_of

from .allowlist import names_file, names_relation

__all__ = ["check_allowlist"]


def check_allowlist() -> list[CheckMessage]:
    """Return a warning for each entry that has expired or matches no relation or model."""
    patterns = [each.pattern for each in conf.NPLUSONE_ALLOW if not names_file(each.pattern)]
    labels = [label for model in apps.get_models() for label in _labels(model)] if patterns else []
    expired: list[CheckMessage] = [
        Warning(
            f'QUERYBUDGET["NPLUSONE_ALLOW"], {each.pattern!r}, {each.until}.',
            hint="Repair the loop and take the entry out, or agree on a later day.",
            id="querybudget.W014",
        )
        for each in conf.NPLUSONE_ALLOW
        if each.until is not None and each.until.days_past
    ]
    return expired + [
        Warning(
            f'QUERYBUDGET["NPLUSONE_ALLOW"] has {pattern!r}, which matches no relation.',
            hint=_nearest(pattern, labels),
            id="querybudget.W003",
        )
        for pattern in patterns
        if not any(names_relation(pattern, label) for label in labels)
    ]


def _labels(model: type[Model]) -> Iterator[str]:
    """Yield what a finding of the model may be called, with the app and without."""
    names = [""]
    for field in (*model._meta.get_fields(), *model._meta.private_fields):
        found: Any = field
        hidden = found.is_relation and getattr(found, "hidden", False)
        names.append(
            "" if hidden else f".{step_of(found).accessor if found.is_relation else found.name}"
        )
    for name in dict.fromkeys(names):
        yield f"{model.__name__}{name}"
        yield f"{model._meta.app_label}.{model.__name__}{name}"


def _nearest(pattern: str, labels: list[str]) -> str:
    close = get_close_matches(pattern, labels, n=1)
    meant = f"Did you mean {close[0]!r}? " if close else ""
    return (
        f'{meant}A pattern is a relation, "jobs.Job.client" or "Job.*", or a file: it has a slash '
        "or ends in .py."
    )
