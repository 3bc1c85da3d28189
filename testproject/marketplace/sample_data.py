"""Writes the marketplace's sample data: the same rows on every machine, at any scale."""

from collections.abc import Callable, Sequence

from django.core.management.color import no_style
from django.db import connections, transaction
from django.db.models import Model

from accounts.models import OTP, CustomUser, Profile, Wallet
from jobs.models import Application, Industry, Job, JobPicture, SavedJob, Subcategory
from marketplace.sample_rows import JobSubcategory, Sizes, build
from payment.models import Payment
from rating.models import Review

BATCH_SIZE = 250

MODELS: Sequence[type[Model]] = (
    CustomUser,
    Profile,
    Wallet,
    OTP,
    Industry,
    Subcategory,
    Job,
    JobSubcategory,
    JobPicture,
    Application,
    SavedJob,
    Payment,
    Review,
)
"""Every model that is filled, each after those it points to."""

Progress = Callable[[str, int, int], None]


def is_filled(using: str = "default") -> bool:
    """Say whether any table of the sample data has a row, sample or not."""
    return any(model._default_manager.using(using).exists() for model in MODELS)


def clear(using: str = "default") -> None:
    """Delete every row of every model of the sample data, whoever wrote it."""
    with transaction.atomic(using=using):
        for model in reversed(MODELS):
            model._default_manager.using(using).all().delete()


def fill(scale: float = 1.0, progress: Progress | None = None, using: str = "default") -> int:
    """Write the sample data into empty tables, all or nothing, and return the number of rows.

    ``progress`` is called after each batch with the name of the model's rows, the number of
    rows written so far and the number of all rows. Raises ValueError for a bad ``scale`` and
    IntegrityError where the rows' keys are taken: call :func:`clear` first.
    """
    rows = build(Sizes.at(scale))
    total = sum(len(of_model) for of_model in rows.values())
    done = 0
    with transaction.atomic(using=using):
        for model in MODELS:
            manager = model._default_manager.using(using)
            for start in range(0, len(rows[model]), BATCH_SIZE):
                batch = rows[model][start : start + BATCH_SIZE]
                manager.bulk_create(batch)
                done += len(batch)
                if progress is not None:
                    progress(str(model._meta.verbose_name_plural), done, total)
        _follow_primary_keys(using)
    return done


def _follow_primary_keys(using: str) -> None:
    """Let sequences go on after the keys written here, where the database has sequences."""
    connection = connections[using]
    statements = connection.ops.sequence_reset_sql(no_style(), list(MODELS))
    if statements:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
