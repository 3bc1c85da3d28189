"""The one budget for what is remembered of SQL texts."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from django_querybudget.cache.columns import Columns
from django_querybudget.cache.reading.compiled import compiled
from django_querybudget.cache.reading.dependencies import refused, tags_read
from django_querybudget.cache.tables import Table
from django_querybudget.cache.writing import forms
from django_querybudget.sql import memory
from django_querybudget.sql.fingerprints import fingerprint, statement_kind
from django_querybudget.sql.memory import BUDGET, LONGEST, Memo
from django_querybudget.sql.shortening import shortened
from jobs.models import Job

MEBIBYTE = 1024 * 1024


def counted() -> tuple[Memo[Any, Any], list[Any]]:
    """A memo, and what its function was called with."""
    asked: list[Any] = []

    def function(key: Any) -> Any:
        asked.append(key)
        return None if key == "nothing" else (key,)

    return Memo(function), asked


@pytest.mark.parametrize(
    "key", ["a", "a" * 2 * LONGEST, ("a", 1), ("a" * 2 * LONGEST, 1), "nothing"]
)
def test_what_was_asked_before_is_not_computed_again(key: Any) -> None:
    memo, asked = counted()
    first = memo[key]
    assert first == (None if key == "nothing" else (key,))
    assert memo[key] is first
    assert asked == [key]
    memo.forget()
    assert memo[key] == first
    assert asked == [key, key]


def test_long_texts_are_told_apart() -> None:
    memo, asked = counted()
    texts = ["a" * 2 * LONGEST + end for end in ("", "b", "c", "\udc80")]
    for _ in range(2):
        for text in texts:
            assert memo[text] == (text,)
            assert memo[text, 1] == ((text, 1),)
    assert len(asked) == 2 * len(texts)


def test_without_a_function_it_knows_what_it_was_told() -> None:
    memo: Memo[str, int] = Memo()
    memo.remember("a", 1)
    assert (memo.get("a"), memo.get("b"), memo["a"]) == (1, None, 1)
    with pytest.raises(KeyError, match="b"):
        memo["b"]
    long = "a" * (LONGEST + 1)
    memo.remember(long, 1)
    assert memo.get(long) is None
    assert len(memo) == 1


def test_what_is_used_stays_and_what_is_not_goes() -> None:
    memo, asked = counted()
    memo["used"], memo["unused"]
    for number in range(4 * BUDGET // 1000):
        memo[f"{number:01000}"]
        memo["used"]
    assert asked.count("used") == 1
    memo["unused"]
    assert asked.count("unused") == 2


def test_one_memo_that_grows_drives_out_the_others_unused_entries() -> None:
    (one, _), (other, asked) = counted(), counted()
    other["a"]
    for number in range(4 * BUDGET // 1000):
        one[f"{number:01000}"]
    other["a"]
    assert asked == ["a", "a"]


def test_a_memo_that_is_gone_is_not_kept() -> None:
    before = len(memory._pool.memos)
    for _ in range(100):
        counted()[0]["a"]
    gc.collect()
    memo, _ = counted()
    for number in range(BUDGET // 1000):
        memo[f"{number:01000}"]
    assert len(memory._pool.memos) <= before + 1


def test_threads_that_share_a_memo_get_their_own_answers() -> None:
    memo: Memo[str, str] = Memo(lambda text: text[::-1])
    wrong: list[str] = []

    def ask(start: int) -> None:
        for number in range(start, start + 4000):
            text = f"{number % 500:0500}x"
            if memo[text] != text[::-1]:
                wrong.append(text)
            memo.forget() if number % 997 == 0 else memo.age() if number % 499 == 0 else None

    threads = [threading.Thread(target=ask, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []


def test_a_memo_that_another_thread_is_at_is_not_waited_for() -> None:
    memo, asked = counted()
    with memory._pool.lock:
        assert memo["a"] == ("a",)
    assert memo["a"] == ("a",)
    assert asked == ["a", "a"]


@given(st.lists(st.text(max_size=9), max_size=30))
def test_a_memo_answers_as_its_function_does(texts: list[str]) -> None:
    memo: Memo[str, int] = Memo(len)
    for text in texts:
        assert memo[text] == len(text)


def test_what_is_written_to_many_wide_tables_is_remembered() -> None:
    """A statement's form names tables, which are there once, whatever their columns weigh."""
    names = frozenset(f"a_column_of_a_wide_table_{number}" for number in range(500))
    wide = tuple(
        Table(f"t{number}", None, {}, columns=Columns({}, names, frozenset(), frozenset(), {}))
        for number in range(50)
    )
    asked: list[str] = []

    def form(text: str) -> forms.Form:
        asked.append(text)
        return forms.Form(wide)

    memo: Memo[str, forms.Form] = Memo(form)
    assert memo["DELETE"] is memo["DELETE"]
    assert asked == ["DELETE"]


def read_every_way(text: str) -> None:
    """Ask everything that remembers texts."""
    shape = fingerprint(text)
    shortened(shape)
    statement_kind(text)
    forms.form_of(text, connection)
    refused(text, connection)
    tags_read(text, connection)


LONG: dict[str, tuple[int, Callable[[int], str]]] = {
    "a long literal": (
        6_000,  # 54 MB
        lambda number: f'SELECT "id" FROM "jobs_job" WHERE "title" = \'{number:09000}\'',
    ),
    "just short enough to be kept": (
        2_000,  # 16 MB
        lambda number: f"SELECT '{number:08000}' FROM \"jobs_job\"",
    ),
    "a list of keys, another length each time": (
        100,
        lambda number: f'SELECT 1 FROM "jobs_job" WHERE "id" IN (%s{", %s" * 25 * number})',
    ),
    "a shape as long as the text": (
        100,
        lambda number: f'SELECT CASE {f"WHEN c{number} = %s THEN %s " * 200} END FROM "jobs_job"',
    ),
}


@pytest.mark.once
@pytest.mark.django_db
@pytest.mark.parametrize("kind", LONG)
def test_all_memos_together_hold_no_more_than_8_mib(kind: str) -> None:
    count, text = LONG[kind]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(count):
            read_every_way(text(number))
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held <= 8 * MEBIBYTE


def test_compiled_queries_share_the_budget() -> None:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(1, 150):
            compiled(Job.objects.filter(pk__in=range(number * 20)).query, connection)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held <= 8 * MEBIBYTE
