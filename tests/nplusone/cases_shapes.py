"""Shapes of real projects: through models, generic keys of several models, polymorphic rows.

A line for these is easily wrong in a way that raises, or that returns other rows.
"""

from __future__ import annotations

from asyncio import gather
from operator import attrgetter
from typing import Any, ClassVar

from django import forms
from django.db.models import Prefetch
from django.db.models.signals import post_init
from django.forms import inlineformset_factory
from django.template.loader import render_to_string
from rest_framework import serializers

from .corpus import (
    NO_QUERYSET,
    ONCE,
    ONE_STATEMENT,
    RANGES,
    ROWS_AT_ONCE,
    Run,
    bypassed,
    case,
    lookup,
    related,
    relation,
    write,
)
from .data import ROWS
from .models import (
    Author,
    Biography,
    Book,
    Club,
    Comment,
    EventPage,
    Greeted,
    Page,
    Publisher,
    Review,
    Seat,
    Setting,
    Tag,
    Ticket,
)


class PersonSerializer(serializers.ModelSerializer[Author]):
    publisher = serializers.StringRelatedField()

    class Meta:
        model = Author
        fields: ClassVar = ["name", "publisher"]


class TicketSerializer(serializers.ModelSerializer[Ticket]):
    reporter = PersonSerializer()
    assignee = PersonSerializer()
    reviewer = PersonSerializer()

    class Meta:
        model = Ticket
        fields: ClassVar = ["title", "reporter", "assignee", "reviewer"]


class FlatTicketSerializer(serializers.ModelSerializer[Ticket]):
    class Meta:
        model = Ticket
        fields: ClassVar = ["title", "reporter", "assignee", "reviewer"]


class TicketForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Ticket
        fields = ("title", "reporter", "assignee", "reviewer")


@case(relation("Seat.person", 'club.seats.select_related("person")'), after=2)
def rows_of_a_through_model(run: Run) -> None:
    """A good engineer joins the person to the seats: they are rows of ``Seat``, not members."""
    club = Club.objects.get(name="club 3")
    for seat in run(club.seats.all()):  # root
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
    for member in run(club.members.all()):  # root
        assert member.publisher.name  # N+1


@case(relation("Seat.club", 'author.seats.select_related("club")'), after=4)
def rows_of_a_through_model_from_the_other_side(run: Run) -> None:
    """The seats of one person, with the club of each."""
    author = Author.objects.get(name="author 3")
    Seat.objects.bulk_create(Seat(club=club, person=author) for club in Club.objects.all())
    for seat in run(author.seats.all()):  # root
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


@case(relation("EventPage.host", None, hint=NO_QUERYSET))
def rows_of_their_own_classes(run: Run) -> None:
    """django-polymorphic asks for the rows of each class by a queryset of its own.

    ``EventPage.objects`` would leave out the other pages, and ``Page.objects`` cannot join a
    subclass' relation: no line for a queryset is right.
    """
    for page in Page.objects.order_by("pk"):
        assert page.host.name if isinstance(page, EventPage) else page.title  # N+1
    assert Page.objects.count() == 2 * ROWS


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


@case(
    write("Author", None, operation="create", hint=ONE_STATEMENT),
    write("Biography", None, hint=ONE_STATEMENT),
)
def creates_of_rows_that_the_loop_goes_on_with(run: Run) -> None:
    """The biography needs its author's key: no line replaces one of the two alone."""
    publisher = Publisher.objects.earliest("pk")
    for number in range(4):
        author = Author(name=f"new {number}", publisher=publisher)
        author.save()  # N+1
        Biography(author=author, text="New.").save()  # N+1
        assert author.pk


_THREE = 'Ticket.objects.select_related("reporter", "assignee", "reviewer")'


@case(
    relation("Ticket.reporter", _THREE),
    relation("Ticket.assignee", _THREE),
    relation("Ticket.reviewer", _THREE),
    after=1,
)
def three_relations_to_one_model_by_name(run: Run) -> None:
    """All three stand in the line: each is another query of one text, from one place."""
    for ticket in run(Ticket.objects.all()):  # root
        for name in ("reporter", "assignee", "reviewer"):
            assert getattr(ticket, name).name  # N+1


@case(
    relation("Ticket.reporter", _THREE),
    relation("Ticket.assignee", _THREE),
    relation("Ticket.reviewer", _THREE),
    after=1,
)
def three_relations_by_attrgetter(run: Run) -> None:
    """The same, read by C: there is no frame of the reader's."""
    names = attrgetter("reporter.name", "assignee.name", "reviewer.name")
    for ticket in run(Ticket.objects.order_by("pk")):  # root
        assert all(names(ticket))  # N+1


_NESTED = (
    'Ticket.objects.select_related("reporter__publisher", "assignee__publisher", '
    '"reviewer__publisher")'
)


@case(
    relation("Ticket.reporter", _NESTED),
    relation("Ticket.assignee", _NESTED),
    relation("Ticket.reviewer", _NESTED),
    relation("Author.publisher", _NESTED),  # Three loops of one field, told once.
    after=1,
)
def one_serializer_nested_at_three_paths(run: Run) -> None:
    """Each of the three persons has a publisher: the line joins all three, one deeper."""
    tickets = run(Ticket.objects.all())  # root
    assert len(TicketSerializer(tickets, many=True).data) == ROWS  # N+1


_PUBLISHERS = 'Ticket.objects.select_related("reporter__publisher", "assignee__publisher")'


@case(
    relation("Ticket.reporter", _PUBLISHERS),
    relation("Ticket.assignee", _PUBLISHERS),
    relation("Author.publisher", _PUBLISHERS),
    after=1,
)
def a_second_path_to_the_same_model(run: Run) -> None:
    """One line reads the publisher of whoever it is given: of both persons."""
    for ticket in run(Ticket.objects.all()):  # root
        for person in (ticket.reporter, ticket.assignee):  # N+1
            assert person.publisher.name  # N+1


@case()
def model_form_with_three_keys_to_one_model(run: Run) -> None:
    """One object is checked: each key is asked for once, and nobody loops."""
    key = Author.objects.values_list("pk", flat=True)[0]
    data = {"title": "new", "reporter": key, "assignee": key + 1, "reviewer": key + 2}
    form = TicketForm(data)
    assert form.is_valid(), form.errors
    serializer = FlatTicketSerializer(data=data)
    assert serializer.is_valid(), serializer.errors


@case()
def full_clean_of_one_object(run: Run) -> None:
    """The same without a form."""
    first, second, third = Author.objects.order_by("pk")[:3]
    Ticket(title="new", reporter=first, assignee=second, reviewer=third).full_clean()


@case()
def inlines_of_one_form(run: Run) -> None:
    """A formset checks each of its rows, as the admin's inlines do: that is what it is for."""
    authors = list(Author.objects.order_by("pk")[:4])
    club = Club.objects.earliest("pk")
    formset = inlineformset_factory(Club, Seat, fields=("person", "since"), extra=4)
    data = {"seats-TOTAL_FORMS": "4", "seats-INITIAL_FORMS": "0"}
    for number, author in enumerate(authors):
        data |= {f"seats-{number}-person": str(author.pk), f"seats-{number}-since": "2021"}
    bound = formset(data, instance=club)
    assert bound.is_valid(), bound.errors


def _rename_and_delete(setting: Setting) -> None:
    own = Setting.objects.filter(pk=setting.pk)
    own.update(value="gone")  # N+1: renamed
    own.delete()  # N+1: renamed


@case(
    write("Setting", None, hint=ONE_STATEMENT),
    write("Setting", None, hint=ONE_STATEMENT),
    blamed="N+1: renamed",
)
def deletes_in_a_helper_that_others_call(run: Run) -> None:
    """Taken out of the helper, the delete would be lost to whoever else calls it."""
    for setting in Setting.objects.all():
        _rename_and_delete(setting)


def _delete(setting: Setting) -> None:
    """Delete one setting, and do nothing else."""
    setting.delete()  # N+1: alone


@case(
    write(
        "Setting",
        "Setting.objects.filter(pk__in=[each.pk for each in setting_list]).delete()",
    ),
    blamed="N+1: alone",
    after=3,
)
def deletes_in_a_helper_that_does_no_more(run: Run) -> None:
    """The whole loop goes; the helper stays as it is for its other callers."""
    settings = list(Setting.objects.all())
    if run.fixed:
        run.write(setting_list=settings)
    else:
        for setting in settings:
            _delete(setting)  # root
    assert not Setting.objects.exists()


@case(
    lookup(
        "Author",
        None,
        operation="count",
        hint=RANGES,
    )
)
async def counts_up_to_each_key(run: Run) -> None:
    """No list of values answers ``<=``: one GROUP BY does."""
    numbers = [key async for key in Author.objects.values_list("pk", flat=True)]
    assert [await Author.objects.filter(pk__lte=number).acount() for number in numbers]  # N+1


@case(
    lookup(
        "Seat",
        None,
        operation="count",
        hint=RANGES,
    )
)
def counts_for_each_month(run: Run) -> None:
    """Twelve ranges are one ``annotate(...)`` that names the range, and a count for each."""
    for start in range(2014, 2026):
        Seat.objects.filter(since__gte=start, since__lt=start + 1).count()  # N+1


@case(lookup("Seat", None, operation="count", hint=RANGES))
def counts_for_each_pair_of_years(run: Run) -> None:
    """``range`` is no key to group by, and ``values_list("since__range")`` no field."""
    for start in range(2018, 2026):
        Seat.objects.filter(since__range=(start, start + 1)).count()  # N+1


@case(lookup("Book", None, operation="count", hint=ONCE))
def counts_of_each_word(run: Run) -> None:
    """One ``aggregate()`` with a filtered ``Count`` a word: nothing groups by ``contains``."""
    for word in ("book", "1", "2", "tag"):
        Book.objects.filter(title__icontains=word).count()  # N+1


@case(lookup("Book", None, operation="count", hint=ONCE))
def counts_behind_a_relation_of_its_own(run: Run) -> None:
    """The condition is another model's: grouped by it once, before the loop."""
    for publisher in Publisher.objects.all():
        Book.objects.filter(author__publisher_id=publisher.pk).count()  # N+1


@case(
    relation("Book.reviews", 'author.books.prefetch_related("reviews")'),
    template="corpus/reviews.html:3",
    after=5,
)
def rows_of_a_relation_that_a_template_evaluates(run: Run) -> None:
    """The view starts the queryset, and the template evaluates it: it is changed in the view."""
    author = Author.objects.get(name="author 2")
    Book.objects.update(author=author)
    context: dict[str, Any] = {"total": author.books.count()}
    context["books"] = run(author.books.order_by("pk"))  # root
    assert "book 5" in render_to_string("corpus/reviews.html", context)  # N+1


@case(
    relation("Book.author", 'Book.objects.select_related("author")'),
    template="corpus/books.html:5",
    after=2,
)
def rows_that_are_counted_beside(run: Run) -> None:
    """Of two querysets of one model the one that is counted right there is not the template's."""
    context = {
        "total": Book.objects.count(),
        "books": run(Book.objects.order_by("pk")),  # root
    }
    assert "author 3" in render_to_string("corpus/books.html", context)  # N+1


@case(relation("Book.author", 'Book.objects.select_related("author")'), after=1)
def a_model_that_the_function_imports(run: Run) -> None:
    """A name of the function's own, as modules that import each other have it."""
    from .models import Book as Shelved

    books = Shelved.objects.order_by("pk")  # root
    for book in run(books):
        assert book.author.name  # N+1


async def _author_of(key: int, authors: dict[int, Author]) -> str:
    author = authors.get(key) or await Author.objects.aget(pk=key)  # N+1: gathered
    return author.name


@case(
    lookup("Author", "await Author.objects.ain_bulk(ids)", operation="get"),
    blamed="N+1: gathered",
    after=2,
)
async def gather_below_a_loop_of_another_thing(run: Run) -> None:
    """The ``gather()`` is the loop: the one around it has nothing to do with the rows."""
    for _ in range(1):
        keys = [key async for key in Author.objects.values_list("pk", flat=True)]
        authors = await run.aask(ids=keys) if run.fixed else {}
        assert await gather(*[_author_of(key, authors) for key in keys])  # root


@case(
    lookup("Setting", 'Setting.objects.in_bulk(keys, field_name="key")', operation="get"),
    blamed="N+1: greeting",
    after=2,
)
def list_below_a_loop_of_another_thing(run: Run) -> None:
    """``list()`` is the loop over rows; the line to write stands before it."""
    for _ in range(1):
        rows = Greeted.objects.all()
        Greeted.settings = run.ask(keys=_KEYS) if run.fixed else {}
        assert len(list(rows)) == ROWS  # root


_KEYS = [f"key-{number}" for number in range(ROWS)]


def _note(sender: type[Tag], instance: Tag, **kwargs: Any) -> None:
    del sender, kwargs
    key = f"key-{instance.name[-1]}"
    assert key in Greeted.settings or Setting.objects.get(key=key)  # N+1: received


@case(
    lookup("Setting", 'Setting.objects.in_bulk(keys, field_name="key")', operation="get"),
    blamed="N+1: received",
    after=2,
)
def signal_below_a_loop_of_another_thing(run: Run) -> None:
    """The rows are made by ``list()``, and each sends a signal: that is the loop."""
    post_init.connect(_note, sender=Tag)
    try:
        for _ in range(1):
            Greeted.settings = run.ask(keys=_KEYS) if run.fixed else {}
            assert len(list(Tag.objects.all())) == ROWS  # root
    finally:
        post_init.disconnect(_note, sender=Tag)


@case(
    lookup(
        "Book",
        None,
        operation="[i]",
        hint="Take the rows once, before the loop, and index these: rows = list(queryset).",
    )
)
def rows_by_their_index(run: Run) -> None:
    """Each index of a queryset that is not evaluated is a query."""
    books = Book.objects.order_by("pk")
    for number in range(1, ROWS):
        assert books[number].title  # N+1


@case(
    relation("Book.reviews", 'self.books.prefetch_related("reviews")'),
    template="corpus/recent_books.html:3",
    rooted="root: recent_books",
    after=4,
)
def rows_of_a_method_that_a_template_calls(run: Run) -> None:
    """The queryset is the method's, in the model's file; the template only iterates it."""
    author = Author.objects.get(name="author 2")
    Book.objects.update(author=author)
    author.run = run
    assert "book 5" in render_to_string("corpus/recent_books.html", {"author": author})  # N+1


class _Paged:
    """A page of a project's own paginator: evaluated when it is asked how long it is."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Any:
        if not isinstance(self.rows, list):
            self.rows = list(self.rows)
        return self.rows[number]


def _listed(queryset: Any, template: str) -> str:
    page = _Paged(queryset.order_by("pk")[:ROWS])
    return render_to_string(template, {"page": page})  # N+1: listed_page


@case(
    relation("Book.author", 'Book.objects.select_related("author")'),
    blamed="N+1: listed_page",
    template="corpus/paged.html:2",
    after=1,
)
def rows_that_a_view_hands_to_one_for_all_lists(run: Run) -> None:
    """Evaluated far from here, by a template's loop; started here, which is the line to change."""
    assert "author 3" in _listed(run(Book.objects.all()), "corpus/paged.html")  # root


@case(relation("Author.publisher", 'Author.objects.select_related("publisher")'), after=2)
def rows_whose_prefetched_rows_join_them(run: Run) -> None:
    """The books know their author, too; but the authors that hold such books are the first query's.

    Their list outlives the queryset.
    """
    own = Prefetch("books", queryset=Book.objects.select_related("author"), to_attr="own")
    authors = list(run(Author.objects.prefetch_related(own)))  # root
    for author in authors:
        assert author.publisher.name  # N+1


@case(
    relation(
        "Book.reviews",
        'author.books.prefetch_related("reviews")',
        note="A template cannot write that: let the view do so, and hand the rows to the template.",
    ),
    template="corpus/books_of.html:3",
    after=4,
)
def rows_that_a_template_asks_for(run: Run) -> None:
    """A template cannot prefetch: the view hands it the rows, under the name that it reads."""
    author: Any = Author.objects.get(name="author 2")
    Book.objects.update(author=author)
    if run.fixed:
        author = {"books": {"all": run(Book.objects.filter(author=author))}}
    assert "book 5" in render_to_string("corpus/books_of.html", {"author": author})  # N+1


def _tags_of(book: Book) -> int:
    return book.tags.count()  # N+1: tags_of


@case(
    related("Book.tags", 'Review.objects.prefetch_related("book__tags")'),
    blamed="N+1: tags_of",
    after=2,
)
def counts_in_a_helper_beside_a_join(run: Run) -> None:
    """The book is joined already; its tags are prefetched behind it, and the helper stays."""
    for review in run(Review.objects.select_related("book").filter(stars=1)):  # root
        assert _tags_of(review.book)


@case(bypassed("Book.tags", "[each.pk for each in book.tags.all()]"), after=2)
def keys_of_prefetched_rows(run: Run) -> None:
    """Their keys are there: ``values_list()`` asks for them again."""
    for book in Book.objects.prefetch_related("tags"):
        if run.fixed:
            assert [each.pk for each in book.tags.all()]
        else:
            assert list(book.tags.values_list("pk", flat=True))  # N+1


@case(
    relation("Author.books", 'Author.objects.prefetch_related("books")'),
    related("Book.tags", None, operation="first", hint=ROWS_AT_ONCE),
    template=("corpus/first_included.html:2", "corpus/_first.html:1"),
    after=8,
)
def first_in_an_included_template(run: Run) -> None:
    """Others include the template: no attribute that this queryset makes can be told to it."""
    authors = run(Author.objects.order_by("pk"))  # root
    assert "tag 3" in render_to_string("corpus/first_included.html", {"authors": authors})  # N+1
