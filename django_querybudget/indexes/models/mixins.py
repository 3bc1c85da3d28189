"""Index sets as abstract models: put one among a model's bases, and it has the set's indexes.

Why the sets are data and not ``Meta.indexes``
    A ``Meta.indexes`` of an abstract model is lost as soon as the host has a ``Meta`` of its own.
    So a set is a class attribute, and one ``class_prepared`` receiver adds the indexes once the
    host's fields are known.

Why abstract models and not plain classes
    Migrations write the plain classes among a model's bases into ``bases=``, and would import this
    library for ever. Abstract models are left out of migrations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from django.db import models
from django.db.models.signals import class_prepared

from .resolve import IndexSpec, add_documented_indexes


class IndexMixin(models.Model):
    """Base of index sets; subclass it for a set of your own.

    A set is an abstract model with ``documented_indexes``; a host model lists it among its bases,
    in any place. Problems are reported by ``manage.py check``, never raised at import.
    """

    documented_indexes: ClassVar[Sequence[IndexSpec]] = ()
    """One entry per index: a column's name, a tuple of them, or a ``models.Index``."""

    index_columns: ClassVar[Mapping[str, str | None]] = {}
    """The host's own name of a documented column; None leaves out the indexes that need it."""

    index_skip_redundant: ClassVar[bool] = False
    """Leave out what a unique field, a foreign key or a longer index already gives."""

    class Meta:
        abstract = True

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Keep a set's own ``Meta`` from hiding the one that the host would inherit.

        ``class User(UserIndexMixin, AbstractUser)`` has no ``Meta`` of its own, so Django takes
        the first along the bases: the set's, which says ``abstract`` and nothing else.
        """
        super().__init_subclass__(**kwargs)
        for base in cls.__mro__[1:]:
            meta = vars(base).get("Meta")
            if meta is not None and not _hides_nothing(base, meta):
                cls.Meta = meta  # type: ignore[misc]  # what Django reads of a model's class
                return


def _hides_nothing(base: type, meta: type) -> bool:
    """Return whether ``base`` is an index set whose ``Meta`` only says that it is abstract."""
    is_set = base is IndexMixin or (
        issubclass(base, IndexMixin) and "documented_indexes" in vars(base)
    )
    options = {name for name in vars(meta) if not name.startswith("__")}
    return is_set and options <= {"abstract"} and meta.__bases__ == (object,)


class UserIndexMixin(IndexMixin):
    """Lookups of accounts: sign-in, activity, role."""

    documented_indexes = ("email", "username", "is_active", "role")

    class Meta:
        abstract = True


class OTPIndexMixin(IndexMixin):
    """Lookups of one-time codes: a user's open ones, and old ones to clear."""

    documented_indexes = ("user_id", "is_verified", "created_at", ("user_id", "is_verified"))

    class Meta:
        abstract = True


class ProfileIndexMixin(IndexMixin):
    """Lookups of profiles: by account, by role, newest first."""

    documented_indexes = ("user_id", "role", "joined_at")

    class Meta:
        abstract = True


class PaymentIndexMixin(IndexMixin):
    """Lookups of payments: by state, by either side, by job, and the newest of one state."""

    documented_indexes = (
        "status",
        "payer_id",
        "recipient_id",
        "job_id",
        "created_at",
        ("status", "created_at"),
    )

    class Meta:
        abstract = True


class ReviewIndexMixin(IndexMixin):
    """Lookups of reviews: by either side, by job, newest first, and whether one exists."""

    documented_indexes = (
        "reviewed_id",
        "reviewer_id",
        "job_id",
        "created_at",
        ("reviewer_id", "reviewed_id", "job_id"),
    )

    class Meta:
        abstract = True


def _on_class_prepared(sender: type[models.Model], **_: object) -> None:
    if issubclass(sender, IndexMixin):
        add_documented_indexes(sender)


class_prepared.connect(_on_class_prepared, dispatch_uid="django_querybudget.indexes")
