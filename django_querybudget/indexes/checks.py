"""System checks of indexes; none of them opens a connection.

===================  ============================================================
``querybudget.E030``  A documented index needs a column that the model does not have.
``querybudget.E031``  ``index_columns`` has a key that no documented index names.
``querybudget.E032``  ``index_columns`` is not a dict of columns.
``querybudget.E033``  An entry of ``documented_indexes`` is no index.
``querybudget.W030``  Two indexes have the same columns.
``querybudget.W031``  A unique field or constraint, or a foreign key, already gives an index.
``querybudget.W032``  A foreign key has no index.
``querybudget.W033``  A model has an index set, and the app is not in ``INSTALLED_APPS``.
``querybudget.I030``  Some indexes of a documented set are redundant in this model.
``querybudget.I031``  An index is the left prefix of a longer one.
===================  ============================================================
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Info, Tags, Warning
from django.db import models

from django_querybudget.conf import conf
from django_querybudget.indexes.audit.findings import FindingKind, IndexFinding
from django_querybudget.indexes.audit.models import audit_models, audited_models
from django_querybudget.indexes.models.resolve import resolution_of
from django_querybudget.messages.registration import registered

# The kinds that gain most first: a scan of a whole table, then what costs at every write.
_IDS = {
    FindingKind.UNINDEXED_FOREIGN_KEY: "querybudget.W032",
    FindingKind.DUPLICATE: "querybudget.W030",
    FindingKind.REDUNDANT: "querybudget.W031",
    FindingKind.PREFIX: "querybudget.I031",
}
_TITLES = {
    FindingKind.UNINDEXED_FOREIGN_KEY: "foreign keys have no index",
    FindingKind.DUPLICATE: "indexes have the columns of another",
    FindingKind.REDUNDANT: "indexes are given by a field already",
    FindingKind.PREFIX: (
        "indexes are usually redundant, since a longer one begins with the same columns"
    ),
}


@registered(Tags.models)
def check_documented_indexes(
    app_configs: Sequence[AppConfig] | None = None, **_: object
) -> list[CheckMessage]:
    """Report what is wrong with the index set of each host model."""
    messages: list[CheckMessage] = []
    hosts = 0
    for model in apps.get_models():
        resolution = resolution_of(model)
        hosts += bool(resolution.added or resolution.problems)
        if app_configs is not None and model._meta.app_config not in app_configs:
            continue
        messages += [
            Error(problem.message, hint=problem.hint, obj=model, id=problem.code)
            for problem in resolution.problems
        ]
    if hosts and not apps.is_installed("django_querybudget"):
        messages.append(
            Warning(
                "Models have index sets, and 'django_querybudget' is not in INSTALLED_APPS: "
                "their indexes work, the other checks and commands are not there.",
                hint="Add 'django_querybudget' to INSTALLED_APPS.",
                id="querybudget.W033",
            )
        )
    return messages


@registered(Tags.models)
def check_declared_indexes(
    app_configs: Sequence[AppConfig] | None = None, **_: object
) -> list[CheckMessage]:
    """Report redundant indexes and foreign keys without one, over all installed models."""
    if not apps.is_installed("django_querybudget"):
        return []
    settings = conf.INDEXES
    installed = [
        model
        for model in audited_models(third_party=settings.THIRD_PARTY)
        if app_configs is None or model._meta.app_config in app_configs
    ]
    findings = [
        finding
        for finding in audit_models(installed)
        # Nearly every unique_together begins with a foreign key: the audit tells of those, and
        # not each start of the development server.
        if not (finding.kind is FindingKind.PREFIX and finding.implied)
        and not finding.is_ignored(settings.IGNORE)
    ]
    return [
        *_grouped([finding for finding in findings if not finding.documented]),
        *_documented(installed, [finding for finding in findings if finding.documented]),
    ]


def _grouped(findings: list[IndexFinding]) -> Iterator[CheckMessage]:
    """Yield one message for each kind in each model, the kinds that gain most first."""
    by_model: dict[tuple[str, FindingKind], list[IndexFinding]] = defaultdict(list)
    for finding in findings:
        by_model[finding.model, finding.kind].append(finding)
    kinds = list(_IDS)
    for (label, kind), of_model in sorted(
        by_model.items(), key=lambda item: (kinds.index(item[0][1]), item[0][0])
    ):
        level = Info if kind is FindingKind.PREFIX else Warning
        message, hint = of_model[0].message, of_model[0].hint
        if len(of_model) > 1:
            reasons = "".join(f"\n  - {each.message} {each.hint}" for each in of_model)
            message, hint = f"{len(of_model)} {_TITLES[kind]}:{reasons}", ""
        silence = (
            f'To silence them, name the model in QUERYBUDGET["INDEXES"]["IGNORE"] ({label!r}), '
            f"or the kind in SILENCED_SYSTEM_CHECKS ({_IDS[kind]!r})."
        )
        yield level(
            message, hint=f"{hint} {silence}".strip(), obj=apps.get_model(label), id=_IDS[kind]
        )


def _documented(
    installed: list[type[models.Model]], findings: list[IndexFinding]
) -> Iterator[CheckMessage]:
    """Yield one message for each model: its set was asked for, and is judged as a whole."""
    for model in installed:
        redundant = [finding for finding in findings if finding.model == model._meta.label]
        if redundant:
            reasons = "".join(f"\n  - {finding.message}" for finding in redundant)
            yield Info(
                f"{len(redundant)} of the {len(resolution_of(model).added)} documented indexes "
                f"{'is' if len(redundant) == 1 else 'are'} redundant in this model:{reasons}",
                hint=f"Set index_skip_redundant = True on {model.__name__} to leave them out, or "
                f"keep them: each costs disk and time at every write.",
                obj=model,
                id="querybudget.I030",
            )
