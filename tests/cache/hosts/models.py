"""Models whose instances are made by code of their own, and those of other packages.

No migrations, as in :mod:`tests.cache.relations.models`: a key of a migrated app's has no
constraint.
"""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import uuid4

from dirtyfields import DirtyFieldsMixin
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models.signals import post_init
from model_utils import FieldTracker
from model_utils.managers import InheritanceManager
from mptt.models import MPTTModel, TreeForeignKey
from parler.models import TranslatableModel, TranslatedFields
from polymorphic.models import PolymorphicModel
from simple_history.models import HistoricalRecords

from .fields import GradeKey, HashedKey, NegatedKey, SealedKey, SealedText, SecretField
from .querysets import (
    GenericQuerySet,
    IteratedQuerySet,
    SlottedQuerySet,
    StatefulQuerySet,
    Unsubclassable,
)


class Shelf(models.Model):
    """What the others stand on; it keeps a list in JSON."""

    name = models.CharField(max_length=40)
    labels = models.JSONField(default=list)

    generic = GenericQuerySet.as_manager()
    slotted = SlottedQuerySet.as_manager()
    stateful = StatefulQuerySet.as_manager()
    iterated = IteratedQuerySet.as_manager()
    final = Unsubclassable.as_manager()
    objects = models.Manager()


class Thing(models.Model):
    """Abstract: a number, and a shelf that it stands on."""

    shelf = models.ForeignKey(Shelf, models.CASCADE, related_name="%(class)ss")
    name = models.CharField(max_length=40, default="n")
    number = models.IntegerField(default=0)
    labels = models.JSONField(default=list)

    class Meta:
        abstract = True


class FromDb(Thing):
    """Changes what was read, as the first code that sees it."""

    @classmethod
    def from_db(cls, db: Any, field_names: Any, values: Any, **kwargs: Any) -> Any:
        made = super().from_db(db, field_names, values, **kwargs)
        if "name" in field_names:
            made.name += "!"
        made.loaded = dict(zip(field_names, values, strict=False))  # as Django's docs have it
        return made


class Inited(Thing):
    """Changes a value, and a list in place."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.number += 1
        self.labels.append("seen")
        self.before = self.number


class Signalled(Thing):
    """Changed by a receiver."""

    language: ClassVar[str] = "en"


def translate(instance: Signalled, **_: Any) -> None:
    """Change it for good, by what is true at the moment."""
    if not instance.name.startswith("translated"):
        instance.name = f"translated {Signalled.language} {instance.name}"


post_init.connect(translate, sender=Signalled)


class Assigned(Thing):
    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value * 2 if name in ("number", "doubled") else value)


class Secret(Thing):
    word = SecretField(max_length=40)


class Tracked(Thing):
    tracker = FieldTracker()


class Dirty(DirtyFieldsMixin, Thing):
    pass


class Hashed(Thing):
    id = HashedKey(primary_key=True)


class Negated(Thing):
    id = NegatedKey(primary_key=True)


class ByUuid(Thing):
    id = models.UUIDField(primary_key=True, default=uuid4)


class ByCode(Thing):
    """Its primary key is text."""

    id = models.CharField(max_length=8, primary_key=True)


class Sealed(Thing):
    """Its primary key, and a text, are encrypted anew each time."""

    id = SealedKey(primary_key=True)
    secret = SealedText(max_length=80, default="s")


class Graded(models.Model):
    id = GradeKey(primary_key=True)
    name = models.CharField(max_length=40)


class Holder(models.Model):
    """Refers to models with code of their own, to one that inherits, and to itself."""

    from_db_row = models.ForeignKey(FromDb, models.CASCADE, null=True, related_name="holders")
    inited = models.ForeignKey(Inited, models.CASCADE, null=True, related_name="holders")
    hashed = models.ForeignKey(Hashed, models.CASCADE, null=True, related_name="holders")


class Animal(models.Model):
    name = models.CharField(max_length=40)

    objects = InheritanceManager()


class Dog(Animal):
    barks = models.BooleanField(default=True)


class Cat(Animal):
    lives = models.IntegerField(default=9)


class Shape(PolymorphicModel):
    polymorphic_ctype = models.ForeignKey(
        ContentType,
        models.CASCADE,
        null=True,
        editable=False,
        related_name="+",
        db_constraint=False,
    )
    name = models.CharField(max_length=40)


class Circle(Shape):
    radius = models.IntegerField(default=1)


class Product(TranslatableModel):
    code = models.CharField(max_length=40)
    translations = TranslatedFields(title=models.CharField(max_length=40))


class Branch(MPTTModel):
    name = models.CharField(max_length=40)
    parent = TreeForeignKey("self", models.CASCADE, null=True, related_name="children")


class Poll(models.Model):
    question = models.CharField(max_length=40)
    history = HistoricalRecords(user_db_constraint=False)
