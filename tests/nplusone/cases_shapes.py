"""Shapes of real projects: through models, generic keys of several models, polymorphic rows.

A line for these is easily wrong in a way that raises, or that returns other rows.
"""

from __future__ import annotations

from .corpus import Run, case, relation, write
from .data import ROWS
from .models import (
    Author,
    Biography,
    Club,
    Comment,
    EventPage,
    Page,
    Publisher,
    Seat,
    Setting,
)


@case(relation("Seat.person", 'club.seats.select_related("person")'), after=2)
def rows_of_a_through_model(run: Run) -> None:
    """A good engineer joins the person to the seats: they are rows of ``Seat``, not members."""
    club = Club.objects.get(name="club 3")
    for seat in run(club.seats.all()):
        assert seat.person.name  # N+1


_MEMBERS = 'Club.objects.prefetch_related("seats__person")'


@case(relation("Club.seats", _MEMBERS), relation("Seat.person", _MEMBERS), after=3)
def rows_of_a_through_model_of_each_row(run: Run) -> None:
    """One prefetch along the seats to their persons."""
    for club in run(Club.objects.all()):  # root
        for seat in club.seats.all():  # N+1
            assert seat.person.name  # N+1


@case(relation("Author.publisher", 'club.members.select_related("publisher")'), after=2)
def members_through_a_model(run: Run) -> None:
    """The members themselves: their publisher is joined to them."""
    club = Club.objects.get(name="club 3")
    for member in run(club.members.all()):
        assert member.publisher.name  # N+1


@case(relation("Seat.club", 'author.seats.select_related("club")'), after=4)
def rows_of_a_through_model_from_the_other_side(run: Run) -> None:
    """The seats of one person, with the club of each."""
    author = Author.objects.get(name="author 3")
    Seat.objects.bulk_create(Seat(club=club, person=author) for club in Club.objects.all())
    for seat in run(author.seats.all()):
        assert seat.club.name  # N+1


_ABOUT = (
    'Comment.objects.prefetch_related(GenericPrefetch("about", [Author.objects.select_related('
    '"publisher"), Book.objects.select_related("author__publisher")]))'
)


@case(
    relation("Comment.about", _ABOUT),
    relation("Comment.about", _ABOUT),
    relation("Book.author", _ABOUT),
    relation("Author.publisher", _ABOUT),
    after=5,
)
def generic_keys_of_two_models(run: Run) -> None:
    """Each model that the comments are about gets a queryset of its own: an author has no author.

    ``prefetch_related("about__author")`` would raise at the first comment about an author.
    """
    authors = Author.objects.order_by("pk")
    Comment.objects.bulk_create(Comment(about=author, text="So.") for author in authors)
    for comment in run(Comment.objects.order_by("-pk")):  # root
        about = comment.about  # N+1
        author = about if isinstance(about, Author) else about.author  # N+1
        assert author.publisher.name  # N+1


@case(relation("EventPage.host", None))
def rows_of_their_own_classes(run: Run) -> None:
    """django-polymorphic asks for the rows of each class by a queryset of its own.

    ``EventPage.objects`` would leave out the other pages, and ``Page.objects`` cannot join a
    subclass' relation: no line for a queryset is right.
    """
    found = []
    for page in Page.objects.order_by("pk"):
        found.append(page.host.name if isinstance(page, EventPage) else page.title)  # N+1
    assert len(found) == 2 * ROWS


@case(relation("EventPage.host", 'EventPage.objects.select_related("host")'), after=1)
def rows_of_one_class_of_several(run: Run) -> None:
    """Where the line has ``EventPage.objects``, that is the queryset, and the join is right."""
    for page in run(EventPage.objects.order_by("pk")):  # root
        assert page.host.name  # N+1


@case(
    write(
        "Setting",
        "Setting.objects.filter(pk__in=[each.pk for each in setting_list]).delete()",
        alone=True,
    ),
    after=3,
)
def deletes_of_rows_that_are_renamed_first(run: Run) -> None:
    """The bulk delete stands for that statement alone: without the loop the names would be lost."""
    settings, gone = list(Setting.objects.all()), []
    for setting in settings:
        gone.append(setting.key)
        if not run.fixed:
            setting.delete()  # N+1
    if run.fixed:
        run.write(setting_list=settings)
    assert len(gone) == ROWS
    assert not Setting.objects.exists()


@case(write("Author", None, operation="create"), write("Biography", None), blamed="none")
def creates_of_rows_that_the_loop_goes_on_with(run: Run) -> None:
    """The biography needs its author's key: no line replaces one of the two alone."""
    publisher = Publisher.objects.earliest("pk")
    for number in range(4):
        author = Author(name=f"new {number}", publisher=publisher)
        author.save()
        Biography(author=author, text="New.").save()
        assert author.pk
