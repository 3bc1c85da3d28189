"""What the scripts do to a table's tag, its twin and the tags behind it, on a real Redis."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py

from django_querybudget.cache import tags
from django_querybudget.cache.stores import chosen
from django_querybudget.cache.stores.redis import RedisStore
from django_querybudget.cache.stores.tag_keys import TRANSIENT_TIMEOUT, tag_key
from django_querybudget.cache.stores.twins import SAME

pytestmark = pytest.mark.once

TABLE, TWIN = tags.table_tag("x", "a"), tags.twin_tag("x", "a", "abc")
ANY, VALUE = tags.any_value_tag("x", "a"), tags.value_tag("x", "a", "f", "1")
COLUMN, ROW = tags.column_tag("x", "a", "c"), tags.row_tag("x", "a", "7")
ALL = (TABLE, TWIN, ANY, VALUE, COLUMN, ROW)
B_TABLE, B_TWIN = tags.table_tag("x", "b"), tags.twin_tag("x", "b", "abc")
B_ANY, B_VALUE = tags.any_value_tag("x", "b"), tags.value_tag("x", "b", "f", "1")
B_ALL = (B_TABLE, B_TWIN, B_ANY, B_VALUE)


class Server:
    """The values of tags, as they stand in the server."""

    def __init__(self, client: redis_py.Redis) -> None:
        self.client = client

    def __getitem__(self, tag: str) -> str | None:
        found: Any = self.client.get(tag_key(tag))
        return None if found is None else found.decode()

    def __setitem__(self, tag: str, value: str) -> None:
        self.client.set(tag_key(tag), value)

    def of(self, *wanted: str) -> dict[str, str | None]:
        return {tag: self[tag] for tag in wanted}

    def stays(self, tag: str) -> str:
        left = int(self.client.pttl(tag_key(tag)))
        return {-2: "not there", -1: "for ever"}.get(
            left, "a day" if 0 <= 1000 * TRANSIENT_TIMEOUT - left < 60_000 else f"{left} ms"
        )


@pytest.fixture
def server(redis_url: str) -> Iterator[Server]:
    with redis_py.Redis.from_url(redis_url) as client:
        client.flushdb()
        yield Server(client)


@pytest.fixture
def tested(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisStore]:
    monkeypatch.setattr(chosen, "_stores", {})
    store = RedisStore("redis")
    store.keeps_beating = False
    yield store
    store._keeper.stop()


def marked(value: str | None, *writers: str) -> str:
    """Return the token of a value that has exactly the marks of these writers."""
    token, bar, marks = (value or "").partition("|")
    assert bool(bar) is bool(writers)
    assert [mark.partition("@")[0] for mark in marks.split(",") if mark] == list(writers)
    return token


def held(token: str, writer: str) -> str:
    return f"{token}|{writer}@{int(time.time() * 1000) + 60_000}"


# Who reads


def test_who_asks_for_a_twin_gets_it_like_its_table(tested: RedisStore, server: Server) -> None:
    found = tested._ensure([TWIN, VALUE, ROW])
    assert found[TWIN] == SAME
    assert server[TABLE] == server[TWIN] == found[TABLE]
    assert {tag: server.stays(tag) for tag in ALL} == {
        TABLE: "for ever",
        TWIN: "a day",
        ANY: "a day",
        VALUE: "a day",
        COLUMN: "not there",
        ROW: "a day",
    }
    before = server.of(*ALL)
    assert tested._ensure([TWIN, VALUE, ROW]) == found
    assert tested._read(None, [TWIN])[1] == {TWIN: SAME, TABLE: before[TABLE]}
    assert server.of(*ALL) == before


@pytest.mark.parametrize("asked", [(), (ANY,)], ids=["not asked for", "asked for"])
def test_who_makes_a_twin_equal_renews_any_value(
    tested: RedisStore, server: Server, asked: tuple[str, ...]
) -> None:
    tested._ensure([*ALL, *B_ALL])
    server[TABLE] = "1-a"  # by who does not know the twin
    before = server.of(*ALL, *B_ALL)
    assert TWIN not in tested._read(None, [TWIN, VALUE])[1]
    wanted = [TWIN, *asked, VALUE, COLUMN, ROW, B_TWIN, B_VALUE]
    assert tested._ensure(wanted)[TWIN] == SAME
    after = server.of(*ALL, *B_ALL)
    assert after[TWIN] == "1-a"
    assert server.stays(TWIN) == server.stays(ANY) == "a day"
    assert {tag for tag in after if after[tag] != before[tag]} == {TWIN, ANY}


def test_a_twin_is_not_made_equal_while_a_writer_is_in_flight(
    tested: RedisStore, server: Server
) -> None:
    tested._ensure(ALL)
    server[TABLE] = held("1-a", "older")
    before = server.of(*ALL)
    assert TWIN not in tested._ensure([TWIN, VALUE])
    assert server.of(*ALL) == before
    server[TABLE] = server[TWIN] = held("1-a", "knows")
    assert tested._ensure([TWIN, VALUE])[TWIN] == SAME  # and its row's, or value's, says the rest
    assert server[ANY] == before[ANY]


def test_a_mark_on_any_value_outlasts_that_the_twin_is_made_equal(
    tested: RedisStore, server: Server
) -> None:
    tested._ensure(ALL)
    server[TABLE] = "1-a"
    server[ANY] = before = held("1-b", "other")
    assert tested._ensure([TWIN])[TWIN] == SAME
    assert server[ANY] == before


def test_what_is_empty_is_not_like_a_twin_that_is_not_there(
    tested: RedisStore, server: Server
) -> None:
    server[TABLE] = ""  # somebody else's
    assert tested._read(None, [TWIN])[1] == {TABLE: ""}


# Who writes


@pytest.mark.parametrize("wanted", [ALL, (TABLE, TWIN, VALUE, COLUMN, ROW)], ids=["any", "some"])
def test_who_writes_puts_no_tag_that_only_lists_depend_on_where_no_twin_is(
    tested: RedisStore, server: Server, wanted: tuple[str, ...]
) -> None:
    tested._ensure([TABLE, *B_ALL])  # of another table there is one
    for change in (
        lambda: tested._mark([*B_ALL, *wanted], "a", 60),
        lambda: tested._renew([*B_ALL, *wanted], "a"),
    ):
        change()
        assert {tag for tag in ALL if server[tag] is not None} <= {TABLE, ROW}
        assert server[B_TABLE] == server[B_TWIN]


def test_a_write_leaves_a_twin_equal_to_its_table(tested: RedisStore, server: Server) -> None:
    tested._ensure(ALL)
    before = server.of(*ALL)
    wanted = [TABLE, TWIN, VALUE]
    tested._mark(wanted, "a", 60)
    tested._mark(wanted, "b", 60)
    for tag in wanted:
        assert marked(server[tag], "a", "b") == before[tag]
    assert server[TABLE] == server[TWIN]
    assert tested._read(None, [TWIN])[1][TWIN] == SAME
    tested._renew(wanted, "a")
    for tag in wanted:
        assert marked(server[tag], "b") != before[tag]
    assert server[TABLE] == server[TWIN]
    tested._renew(wanted, "b")
    assert marked(server[TABLE]) == marked(server[TWIN])
    assert [server.stays(tag) for tag in wanted] == ["for ever", "a day", "a day"]
    assert server.of(ANY, COLUMN, ROW) == {tag: before[tag] for tag in (ANY, COLUMN, ROW)}


@pytest.mark.parametrize("how", ["mark", "renew"])
def test_who_writes_where_a_twin_differs_renews_any_value(
    tested: RedisStore, server: Server, how: str
) -> None:
    tested._ensure([*ALL, *B_ALL])
    server[TABLE] = "1-a"
    server[ANY] = held("1-b", "other")
    before = server.of(*ALL, *B_ALL)
    wanted = [TABLE, TWIN, VALUE, B_TABLE, B_TWIN, B_VALUE]
    if how == "mark":
        tested._mark(wanted, "a", 60)
    else:
        tested._renew(wanted, "a")
    assert marked(server[ANY], "other") not in ("1-b", "")  # the writer's is where it writes
    assert 0 < server.client.pttl(tag_key(ANY)) <= 60_000  # as long as the mark
    assert server[B_ANY] == before[B_ANY]
    assert (server[TABLE] == server[TWIN]) is (how == "renew")


@pytest.mark.parametrize("how", ["mark", "renew"])
def test_any_value_that_is_renewed_for_a_twin_stays_for_a_day(
    tested: RedisStore, server: Server, how: str
) -> None:
    tested._ensure(ALL)
    before = server[ANY]
    server[TABLE] = "1-a"
    if how == "mark":
        tested._mark([TABLE, TWIN], "a", 60)
    else:
        tested._renew([TABLE, TWIN], "a")
    assert marked(server[ANY]) != before
    assert server.stays(ANY) == "a day"


def test_who_writes_any_value_marks_it_and_renews_it(tested: RedisStore, server: Server) -> None:
    tested._ensure(ALL)
    before = server.of(*ALL)
    tested._mark([TABLE, TWIN, ANY], "a", 60)
    assert marked(server[ANY], "a") == before[ANY]
    tested._renew([TABLE, TWIN, ANY], "a")
    assert marked(server[ANY]) != before[ANY]


def test_a_mark_on_any_value_outlasts_the_writers_next_one(
    tested: RedisStore, server: Server
) -> None:
    """The next one is of a twin that it did not know: a model came in between."""
    tested._ensure(ALL)
    tested._mark([TABLE, ANY], "a", 60)
    assert marked(server[ANY], "a")
    before = server[ANY]
    tested._mark([TABLE, TWIN, VALUE], "a", 60)
    assert server[TABLE] == server[TWIN]
    assert marked(server[ANY], "a") != marked(before, "a")
