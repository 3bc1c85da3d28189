"""Models of the relations that the marketplace has no use for, and that a cache can get wrong.

No migrations: the tables are made from the models. A foreign key to a migrated app therefore has
no constraint in the database.
"""

import django
from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models


class Place(models.Model):
    """The parent of a multi-table child."""

    name = models.CharField(max_length=40)


class Restaurant(Place):
    stars = models.IntegerField(default=0)


class Bistro(Restaurant):
    """A grandchild: three tables, one row."""

    wine = models.CharField(max_length=40, default="house")


class Author(models.Model):
    name = models.CharField(max_length=40)
    score = models.IntegerField(default=0)
    mentor = models.ForeignKey("self", models.SET_NULL, null=True, related_name="pupils")


class Tag(models.Model):
    word = models.CharField(max_length=40, unique=True)


class Note(models.Model):
    """Says something about any row."""

    content_type = models.ForeignKey(ContentType, models.CASCADE, db_constraint=False)
    object_id = models.PositiveIntegerField()
    about = GenericForeignKey()
    text = models.CharField(max_length=40)


def first_author() -> int:
    return 1


class Book(models.Model):
    title = models.CharField(max_length=40)
    price = models.IntegerField(default=0)
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")
    editor = models.ForeignKey(Author, models.SET_NULL, null=True, related_name="edited")
    reader = models.ForeignKey(Author, models.SET(first_author), null=True, related_name="read")
    tags = models.ManyToManyField(Tag, related_name="books")
    likes = models.ManyToManyField(Author, through="Like", related_name="liked")
    notes = GenericRelation(Note)


class Like(models.Model):
    """A many-to-many table with a column of its own."""

    book = models.ForeignKey(Book, models.CASCADE)
    author = models.ForeignKey(Author, models.CASCADE)
    warmth = models.IntegerField(default=1)


class DearBooks(models.Manager["DearBook"]):
    def get_queryset(self) -> models.QuerySet["DearBook"]:
        return super().get_queryset().filter(price__gte=20)


class DearBook(Book):
    objects = DearBooks()

    class Meta:
        proxy = True


class Chapter(models.Model):
    """Deleted with its book in one statement, without being read: no one listens to it."""

    book = models.ForeignKey(Book, models.CASCADE, related_name="chapters")
    heading = models.CharField(max_length=40)

    class Meta:
        order_with_respect_to = "book"


class Receipt(models.Model):
    """Of a list that joins rows of which other tests know nothing."""

    holder = models.ForeignKey(Author, models.CASCADE, related_name="+")
    payment = models.ForeignKey(
        "payment.Payment", models.DO_NOTHING, null=True, db_constraint=False, related_name="+"
    )


class Odd(models.Model):
    """A table and a column that only work quoted."""

    value = models.IntegerField(db_column="the Value", default=0)

    class Meta:
        db_table = "Relations odd-Table"


class Seat(models.Model):
    """Two columns are its primary key."""

    pk = models.CompositePrimaryKey("line", "number")
    line = models.IntegerField()
    number = models.IntegerField()
    guest = models.CharField(max_length=40)


class Named(models.Model):
    """Its primary key is text, which some databases compare without case."""

    name = models.CharField(max_length=40, primary_key=True)
    value = models.IntegerField(default=0)


if django.VERSION >= (6, 1):

    class Owner(models.Model):
        """Its children are deleted, or set to NULL, by the database alone."""

        name = models.CharField(max_length=40)

    class Pet(models.Model):
        owner = models.ForeignKey(Owner, models.DB_CASCADE, related_name="pets")
        name = models.CharField(max_length=40)

    class Collar(models.Model):
        """A grandchild of the database's cascade."""

        pet = models.ForeignKey(Pet, models.DB_CASCADE, related_name="collars")
        colour = models.CharField(max_length=40)

    class Kennel(models.Model):
        owner = models.ForeignKey(Owner, models.DB_SET_NULL, null=True, related_name="kennels")
        name = models.CharField(max_length=40)


class Ledger(models.Model):
    name = models.CharField(max_length=40)


class Entry(models.Model):
    """Whatever happens to its ledger, Django leaves it to the database."""

    ledger = models.ForeignKey(Ledger, models.DO_NOTHING, related_name="entries")
    text = models.CharField(max_length=40)


class Remark(models.Model):
    """A grandchild of what the database may do."""

    entry = models.ForeignKey(Entry, models.DO_NOTHING, related_name="remarks")
    text = models.CharField(max_length=40)


class Measured(models.Model):
    """Of a table in partitions, which the tests of those make."""

    value = models.IntegerField()

    class Meta:
        managed = False


class Shouting(models.Model):
    """Of a view, which the tests of views make."""

    name = models.CharField(max_length=50)

    class Meta:
        managed = False
