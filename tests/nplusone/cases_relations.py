"""Relations and deferred fields, loaded row by row."""

from __future__ import annotations

from django.db.models import Prefetch, prefetch_related_objects

from .corpus import IN_PYTHON, NO_QUERYSET, Run, bypassed, case, deferred, relation
from .models import (
    Author,
    Book,
    BoxedItem,
    Comment,
    Item,
    Novel,
    Place,
    Publisher,
    Review,
    Shop,
    Tag,
    Watched,
)


@case(relation("Book.author", 'Book.objects.select_related("author")'), after=1)
def forward_fk(run: Run) -> None:
    for book in run(Book.objects.all()):  # root
        book.author.name  # N+1


@case(relation("Book.author", 'Book.objects.select_related("author")'), after=1)
def forward_fk_in_comprehension(run: Run) -> list[str]:
    books = run(Book.objects.order_by("pk"))  # root
    return [book.author.name for book in books]  # N+1


@case(
    relation("Book.author", 'Book.objects.select_related("author__publisher")'),
    relation("Author.publisher", 'Book.objects.select_related("author__publisher")'),
    after=1,
)
def two_deep(run: Run) -> None:
    for book in run(Book.objects.all()):  # root
        author = book.author  # N+1
        author.publisher.name  # N+1


@case(
    relation("Review.book", 'Review.objects.select_related("book__author__publisher")'),
    relation("Book.author", 'Review.objects.select_related("book__author__publisher")'),
    relation("Author.publisher", 'Review.objects.select_related("book__author__publisher")'),
    after=1,
)
def three_deep(run: Run) -> None:
    for review in run(Review.objects.filter(stars=1)):  # root
        review.book.author.publisher.name  # N+1


@case(relation("Author.biography", 'Author.objects.select_related("biography")'), after=1)
def reverse_one_to_one(run: Run) -> None:
    for author in run(Author.objects.all()):  # root
        author.biography.text  # N+1


@case(relation("Biography.author", 'Biography.objects.select_related("author")'), after=1)
def forward_one_to_one(run: Run) -> None:
    from .models import Biography

    for biography in run(Biography.objects.all()):  # root
        biography.author.name  # N+1


@case(relation("Author.mentor", 'Author.objects.select_related("mentor")'), after=1)
def nullable_self_reference(run: Run) -> None:
    for author in run(Author.objects.all()):  # root
        if author.mentor_id:
            author.mentor.name  # N+1


@case(relation("Author.books", 'Author.objects.prefetch_related("books")'), after=2)
def reverse_fk(run: Run) -> None:
    for author in run(Author.objects.all()):  # root
        list(author.books.all())  # N+1


@case(relation("Book.tags", 'Book.objects.prefetch_related("tags")'), after=2)
def many_to_many(run: Run) -> None:
    for book in run(Book.objects.all()):  # root
        [tag.name for tag in book.tags.all()]  # N+1


@case(relation("Tag.books", 'Tag.objects.prefetch_related("books")'), after=2)
def many_to_many_from_the_other_side(run: Run) -> None:
    for tag in run(Tag.objects.all()):  # root
        len(tag.books.all())  # N+1


@case(relation("Comment.about", 'Comment.objects.prefetch_related("about")'), after=2)
def generic_foreign_key(run: Run) -> None:
    for comment in run(Comment.objects.all()):  # root
        comment.about.title  # N+1


@case(relation("Book.comments", 'Book.objects.prefetch_related("comments")'), after=2)
def generic_relation(run: Run) -> None:
    for book in run(Book.objects.all()):  # root
        list(book.comments.all())  # N+1


@case(
    relation("Author.books", 'Author.objects.prefetch_related("books__tags")'),
    relation("Book.tags", 'Author.objects.prefetch_related("books__tags")'),
    after=3,
)
def many_below_many(run: Run) -> None:
    for author in run(Author.objects.all()):  # root
        for book in author.books.all():  # N+1
            list(book.tags.all())  # N+1


@case(
    relation(
        "Book.author", 'Book.objects.select_related("author").prefetch_related("author__shops")'
    ),
    relation(
        "Author.shops", 'Book.objects.select_related("author").prefetch_related("author__shops")'
    ),
    after=2,
)
def many_below_one(run: Run) -> None:
    for book in run(Book.objects.all()):  # root
        list(book.author.shops.all())  # N+1


@case(
    relation("Publisher.authors", 'Publisher.objects.prefetch_related("authors__biography")'),
    relation("Author.biography", 'Publisher.objects.prefetch_related("authors__biography")'),
    after=3,
)
def one_below_many(run: Run) -> None:
    for publisher in run(Publisher.objects.all()):  # root
        for author in publisher.authors.all():  # N+1
            author.biography.text  # N+1


@case(
    relation("Book.author", 'Book.objects.select_related("author").prefetch_related("tags")'),
    relation("Book.tags", 'Book.objects.select_related("author").prefetch_related("tags")'),
    after=2,
)
def one_and_many_side_by_side(run: Run) -> None:
    for book in run(Book.objects.all()):  # root
        book.author.name  # N+1
        list(book.tags.all())  # N+1


@case(relation("Author.publisher", 'Book.objects.select_related("author__publisher")'), after=1)
def below_a_select_related(run: Run) -> None:
    for book in run(Book.objects.select_related("author")):  # root
        book.author.publisher.name  # N+1


@case(relation("Book.author", 'Tag.objects.prefetch_related("books__author")'), after=3)
def below_a_prefetch(run: Run) -> None:
    for tag in run(Tag.objects.prefetch_related("books")):  # root
        for book in tag.books.all():
            book.author.name  # N+1


@case(relation("Book.author", 'tag.books.select_related("author")'), after=2)
def from_a_related_manager(run: Run) -> None:
    tag = Tag.objects.get(name="tag 3")
    for book in run(tag.books.all()):  # root
        book.author.name  # N+1


@case(
    relation("Author.publisher", 'Author.objects.select_related("publisher")'),
    blamed="N+1: property",
    after=1,
)
def in_a_property(run: Run) -> None:
    for author in run(Author.objects.all()):  # root
        author.publisher_name


@case(relation("Novel.author", 'Novel.objects.select_related("author")'), after=1)
def proxy_model(run: Run) -> None:
    for novel in run(Novel.objects.all()):  # root
        novel.author.name  # N+1


@case(relation("Place.shop", 'Place.objects.select_related("shop")'), after=1)
def child_of_a_multi_table_parent(run: Run) -> None:
    for place in run(Place.objects.all()):  # root
        place.shop.owner_id  # N+1


@case(relation("Shop.owner", 'Shop.objects.select_related("owner")'), after=1)
def relation_of_a_multi_table_child(run: Run) -> None:
    for shop in run(Shop.objects.all()):  # root
        shop.owner.name  # N+1


@case(deferred("Shop.name", 'Shop.objects.only("owner", "name")'), after=1)
def deferred_field_of_a_parent_table(run: Run) -> None:
    for shop in run(Shop.objects.only("owner")):  # root
        shop.name  # N+1


@case(deferred("Book.blurb", "Book.objects.defer(None)"), after=1)
def deferred_field(run: Run) -> None:
    for book in run(Book.objects.defer("blurb")):  # root
        len(book.blurb)  # N+1


@case(deferred("Book.blurb", 'Book.objects.defer(None).defer("status")'), after=1)
def one_of_two_deferred_fields(run: Run) -> None:
    for book in run(Book.objects.defer("blurb", "status")):  # root
        len(book.blurb)  # N+1


@case(deferred("Book.status", 'Book.objects.only("title", "status")'), after=1)
def only_leaves_out_a_field(run: Run) -> None:
    for book in run(Book.objects.only("title")):  # root
        book.status  # N+1


@case(
    deferred("Watched.status", 'Watched.objects.only("title", "status")'),
    blamed="N+1: init",
    after=1,
)
def deferred_field_read_in_init(run: Run) -> None:
    list(run(Watched.objects.only("title")))  # root


@case(
    deferred("Author.name", 'Book.objects.only("author__mentor", "title", "author__name")'), after=1
)
def only_leaves_out_a_joined_field(run: Run) -> None:
    books = Book.objects.select_related("author").only("title", "author__mentor")  # root
    for book in run(books):
        book.author.name  # N+1


@case(relation("Book.author", 'Book.objects.select_related("author")'), after=1)
def iterator_in_chunks(run: Run) -> None:
    for book in run(Book.objects.all()).iterator(chunk_size=2):  # root
        book.author.name  # N+1


_CHUNKED = "  # and .iterator(chunk_size=2000): it prefetches chunk by chunk"


@case(relation("Book.tags", f'Book.objects.prefetch_related("tags"){_CHUNKED}'), after=2)
def iterator_without_a_chunk_size(run: Run) -> None:
    books = run(Book.objects.order_by("pk"))  # root
    size = {"chunk_size": 2000} if run.fixed else {}
    assert [len(book.tags.all()) for book in books.iterator(**size)] == [3, 3, 3, 3, 2, 1]  # N+1


@case(relation("Book.author", 'Book.objects.select_related("author")'), after=1)
def iterator_without_a_chunk_size_that_joins(run: Run) -> None:
    for book in run(Book.objects.all()).iterator():  # root
        book.author.name  # N+1


@case(relation("Book.tags", 'Book.objects.prefetch_related("tags")'), after=4)
def iterator_in_chunks_that_prefetches(run: Run) -> None:
    for book in run(Book.objects.all()).iterator(chunk_size=2):  # root
        assert book.tags.all()  # N+1


@case(relation("Book.author", 'Book.objects.select_related("author")'), after=1)
def slice_of_a_queryset(run: Run) -> None:
    for book in run(Book.objects.order_by("pk"))[:4]:  # root
        book.author.name  # N+1


@case(
    relation("Book.author", 'Book.objects.select_related("author")'),
    relation("Book.author", 'Book.objects.select_related("author")'),
    after=2,
)
def two_loops_over_one_relation(run: Run) -> None:
    for book in run(Book.objects.order_by("pk")):  # root
        book.author.name  # N+1
    for book in run(Book.objects.order_by("-pk")):  # root
        book.author.name  # N+1


@case(relation("Book.author", 'Book.objects.select_related("author")'), after=2)
def two_querysets_one_loop(run: Run) -> None:
    titles = [book.title for book in Book.objects.filter(status="new")]
    books = run(Book.objects.order_by("pk"))  # root
    assert titles
    for book in books:
        book.author.name  # N+1


@case(
    relation("Book.author", 'Book.objects.select_related("author")'),
    rooted="root: newest",
    after=1,
)
def built_by_a_helper(run: Run) -> None:
    for book in _newest(run):
        book.author.name  # N+1


def _newest(run: Run) -> object:
    return run(Book.objects.order_by("-pk"))  # root: newest


@case(relation("Author.mentor", None, hint=NO_QUERYSET))
def up_a_chain(run: Run) -> None:
    author = run(Author.objects.order_by("-pk")).first()
    while author is not None:
        author = author.mentor  # N+1


@case(bypassed("Book.tags", '[each for each in book.tags.all() if each.name == "tag 3"]'), after=2)
def prefetch_bypassed_by_filter(run: Run) -> None:
    for book in Book.objects.prefetch_related("tags"):
        if run.fixed:
            [each for each in book.tags.all() if each.name == "tag 3"]
        else:
            list(book.tags.filter(name="tag 3"))  # N+1


@case(bypassed("Author.books", None, hint=IN_PYTHON))
def prefetch_bypassed_by_order(run: Run) -> None:
    for author in run(Author.objects.prefetch_related("books")):
        list(author.books.order_by("title"))  # N+1


@case()
def prefetch_with_to_attr(run: Run) -> None:
    books = Prefetch("books", queryset=Book.objects.filter(status="new"), to_attr="new_books")
    for author in Author.objects.prefetch_related(books):
        assert [book.title for book in author.new_books]


@case(relation("Book.author", 'Book.objects.select_related("author")'), after=2)
def below_a_prefetch_with_to_attr(run: Run) -> None:
    books = Prefetch("books", queryset=run(Book.objects.all()), to_attr="shelf")  # root
    for tag in Tag.objects.prefetch_related(books):
        for book in tag.shelf:
            book.author.name  # N+1


@case()
def prefetch_queryset_with_select_related(run: Run) -> None:
    books = Prefetch("books", queryset=Book.objects.select_related("author"))
    for tag in Tag.objects.prefetch_related(books):
        assert [book.author.name for book in tag.books.all()]


@case()
def prefetch_related_objects_at_once(run: Run) -> None:
    books = list(Book.objects.all())
    prefetch_related_objects(books, "tags", "author")
    for book in books:
        assert [tag.name for tag in book.tags.all()]
        assert book.author.name


@case(relation("Item.maker", None, hint=NO_QUERYSET))
def behind_the_link_to_a_parent(run: Run) -> None:
    # Django makes the parent of the child's own fields each time: it holds nothing joined.
    assert [boxed.item_ptr.maker.name for boxed in BoxedItem.everything.all()]  # N+1


@case(relation("BoxedItem.item_ptr", None, hint=NO_QUERYSET))
def link_to_a_parent_of_which_fields_are_deferred(run: Run) -> None:
    for boxed in BoxedItem.everything.only("weight"):
        assert boxed.item_ptr.name  # N+1


@case(relation("BoxedItem.maker", 'BoxedItem.everything.select_related("maker")'), after=1)
def relation_of_a_parent_read_from_the_child(run: Run) -> None:
    for boxed in run(BoxedItem.everything.all()):  # root
        assert boxed.maker.name  # N+1


@case(relation("BoxedItem.maker", 'Item.everything.select_related("boxeditem__maker")'), after=1)
def behind_the_link_to_a_child(run: Run) -> None:
    for item in run(Item.everything.filter(is_gone=False).select_related("boxeditem")):  # root
        assert item.boxeditem.maker.name  # N+1
