"""The async twins: the query runs on a worker thread, whose stack has none of the project."""

from __future__ import annotations

import asyncio

from asgiref.sync import sync_to_async

from .corpus import Run, case, lookup, related, relation, write
from .models import Author, Book, Setting, Tag


@case(
    relation("Book.author", 'Book.objects.select_related("author")'),
    after=1,
    blamed="N+1: sync_read",
)
async def async_for_with_a_sync_read(run: Run) -> None:
    async for book in run(Book.objects.all()):  # root
        await sync_to_async(_author_name)(book)


def _author_name(book: Book) -> str:
    return book.author.name  # N+1: sync_read


@case(
    related(
        "Book.reviews",
        'Book.objects.annotate(reviews_count=Count("reviews", distinct=True))',
        "book.reviews_count",
    ),
    after=1,
)
async def async_count_loop(run: Run) -> None:
    async for book in run(Book.objects.all()):  # root
        assert (book.reviews_count if run.fixed else await book.reviews.acount()) == 3  # N+1


_IN_BULK = "await Author.objects.ain_bulk(ids)"


@case(lookup("Author", _IN_BULK, operation="get"), after=2)
async def aget_loop(run: Run) -> None:
    keys = [book.author_id async for book in Book.objects.all()]
    authors = await run.aask(ids=keys) if run.fixed else {}
    for key in keys:
        assert (authors[key] if run.fixed else await Author.objects.aget(pk=key)).name  # N+1


@case(
    related(
        "Author.books",
        'Author.objects.prefetch_related(Prefetch("books", queryset=Book.objects.filter('
        'status="new"), to_attr="chosen_books"))',
        "for book in author.chosen_books",
        replaces="async for book in author.books.filter(status='new')",
    ),
    after=2,
)
async def async_comprehension_of_chosen_rows(run: Run) -> None:
    async for author in run(Author.objects.all()):  # root
        if run.fixed:
            assert [book.title for book in author.chosen_books]
        else:
            assert [book.title async for book in author.books.filter(status="new")]  # N+1


@case(relation("Author.books", 'Author.objects.prefetch_related("books")'), after=2)
async def async_for_over_a_related_manager(run: Run) -> None:
    async for author in run(Author.objects.all()):  # root
        async for book in author.books.all():  # N+1
            assert book.title


@case(lookup("Author", _IN_BULK, operation="get"), blamed="N+1: gathered_author", after=2)
async def gather_of_one_coroutine(run: Run) -> None:
    keys = [book.author_id async for book in Book.objects.all()]
    authors = await run.aask(ids=keys) if run.fixed else {}
    assert all(await asyncio.gather(*(_author(key, authors) for key in keys)))  # root


async def _author(key: int, authors: dict[int, Author]) -> Author:
    if key in authors:
        return authors[key]
    return await Author.objects.aget(pk=key)  # N+1: gathered_author


@case(lookup("Author", _IN_BULK, operation="get"), after=2)
async def gather_of_queries_alone(run: Run) -> None:
    # Each task is nothing but the ORM: the line that gathers them is blamed.
    keys = [book.author_id async for book in Book.objects.all()]
    if run.fixed:
        assert len(await run.aask(ids=keys)) == 6
        return
    assert all(await asyncio.gather(*[Author.objects.aget(pk=key) for key in keys]))  # N+1


@case(
    related(
        "Book.reviews",
        'Book.objects.annotate(reviews_count=Count("reviews", distinct=True))',
        "<book>.reviews_count",
    ),
    after=1,
)
async def gather_of_counts(run: Run) -> None:
    books = [book async for book in run(Book.objects.all())]  # root
    if run.fixed:
        assert [book.reviews_count for book in books] == [3] * 6
    else:
        assert await asyncio.gather(*[book.reviews.acount() for book in books]) == [3] * 6  # N+1


@case(lookup("Author", _IN_BULK, operation="get"), after=2)
async def task_group_of_queries_alone(run: Run) -> None:
    keys = [book.author_id async for book in Book.objects.all()]
    if run.fixed:
        assert len(await run.aask(ids=keys)) == 6
        return
    async with asyncio.TaskGroup() as group:  # N+1
        for key in keys:
            group.create_task(Author.objects.aget(pk=key))


@case(lookup("Author", _IN_BULK, operation="get"), blamed="N+1: gathered_author", after=2)
async def as_completed_of_coroutines(run: Run) -> None:
    keys = [book.author_id async for book in Book.objects.all()]
    authors = await run.aask(ids=keys) if run.fixed else {}
    for done in asyncio.as_completed([_author(key, authors) for key in keys]):
        assert await done  # root


@case(lookup("Author", _IN_BULK, operation="get"), blamed="N+1: card_author", after=2)
async def gather_below_a_gather(run: Run) -> None:
    """Each card asks two things at once, which is no loop; the cards are."""
    keys = [book.author_id async for book in Book.objects.all()]
    authors = await run.aask(ids=keys) if run.fixed else {}
    assert all(await asyncio.gather(*(_card(key, authors) for key in keys)))  # root


async def _card(key: int, authors: dict[int, Author]) -> list[object]:
    return await asyncio.gather(_author_of_card(key, authors), asyncio.sleep(0))


async def _author_of_card(key: int, authors: dict[int, Author]) -> Author:
    if key in authors:
        return authors[key]
    return await Author.objects.aget(pk=key)  # N+1: card_author


@case()
async def gather_of_unrelated_queries(run: Run) -> None:
    assert all(
        await asyncio.gather(
            Author.objects.acount(), Book.objects.acount(), Setting.objects.acount()
        )
    )


@case()
async def async_helper_from_unrelated_lines(run: Run) -> None:
    assert await _value("key-0")
    assert await _value("key-1")
    assert await _value("key-2")
    assert await _value("key-3")


async def _value(key: str) -> str:
    return (await Setting.objects.aget(key=key)).value


@case()
async def async_single_reads(run: Run) -> None:
    book = await Book.objects.select_related("author").aget(isbn="isbn-1")
    assert book.author.name
    assert await Author.objects.acount()


@case(
    lookup("Author", "Author.objects.in_bulk(ids)", operation="get"),
    blamed="N+1: on_a_thread",
    after=2,
)
async def helper_on_a_thread(run: Run) -> None:
    # Its loop is no coroutine's.
    keys = [book.author_id async for book in Book.objects.all()]
    assert len(await sync_to_async(_names)(run, keys)) == 6


def _names(run: Run, keys: list[int]) -> list[str]:
    if run.fixed:
        authors = run.ask(ids=keys)
        return [authors[key].name for key in keys]
    return [Author.objects.get(pk=key).name for key in keys]  # N+1: on_a_thread


@case(
    lookup(
        "Book",
        'counts = {key: count async for key, count in rows.order_by().values_list("status")'
        '.annotate(Count("pk"))}',
        use="counts.get(status, 0)",
        replaces="await rows.filter(status=status).acount()",
    ),
    after=1,
)
async def acount_of_each_value(run: Run) -> None:
    rows = Book.objects.filter(author_id__gt=0)
    counts = (await run.awrite(rows=rows))["counts"] if run.fixed else {}
    for status in ("new", "sold", "lent", "lost"):
        found = (
            counts.get(status, 0) if run.fixed else await rows.filter(status=status).acount()  # N+1
        )
        assert found == (6 if status == "new" else 0)


@case(write("Tag", "await Tag.objects.abulk_create(tag_list)", operation="create"), after=1)
async def acreate_loop(run: Run) -> None:
    names = [f"new {number}" for number in range(6)]
    if run.fixed:
        await run.awrite(tag_list=[Tag(name=name) for name in names])
    else:
        for name in names:
            await Tag.objects.acreate(name=name)  # N+1


@case(
    write(
        "Setting",
        'await Setting.objects.abulk_update(setting_list, ["value"])',
        operation="save",
    ),
    after=2,
)
async def asave_loop(run: Run) -> None:
    settings = [setting async for setting in Setting.objects.all()]
    for setting in settings:
        setting.value += "!"
    if run.fixed:
        await run.awrite(setting_list=settings)
    else:
        for setting in settings:
            await setting.asave(update_fields=["value"])  # N+1


@case(
    write(
        "Setting",
        'await Setting.objects.filter(key__in=keys).aupdate(value="new")',
        operation="update",
    ),
    after=1,
)
async def aupdate_loop(run: Run) -> None:
    keys = [f"key-{number}" for number in range(6)]
    if run.fixed:
        await run.awrite(keys=keys)
        return
    for key in keys:
        await Setting.objects.filter(key=key).aupdate(value="new")  # N+1


@case(
    write(
        "Setting",
        "await Setting.objects.filter(pk__in=[each.pk for each in setting_list]).adelete()",
        operation="delete",
    ),
    after=3,
)
async def adelete_loop(run: Run) -> None:
    settings = [setting async for setting in Setting.objects.all()]
    if run.fixed:
        await run.awrite(setting_list=settings)
    else:
        for setting in settings:
            await setting.adelete()  # N+1
    assert not await Setting.objects.aexists()


@case(
    write(
        "Book.tags",
        "await Book.tags.through.objects.abulk_create(tags_list, ignore_conflicts=True)",
        operation="add",
    ),
    after=4,
)
async def aadd_loop(run: Run) -> None:
    tag = await Tag.objects.acreate(name="new")
    books = [book async for book in Book.objects.all()]
    if run.fixed:
        await run.awrite(tags_list=[Book.tags.through(book=book, tag=tag) for book in books])
    else:
        for book in books:
            await book.tags.aadd(tag)  # N+1
    assert await tag.books.acount() == 6
