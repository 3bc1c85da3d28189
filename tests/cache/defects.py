"""Defects to plant in an actor: each takes out one of the things that make the cache right.

Every one has to be found by the orders that run in CI, or they would prove nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django_querybudget.cache import columns as columns_of
from django_querybudget.cache import tables, tags, tokens, transactions
from django_querybudget.cache.reading import conditions, fills, leases, lists
from django_querybudget.cache.reading import through as reading
from django_querybudget.cache.stores import backends, redis, scripts
from django_querybudget.cache.stores import twins as twins_of
from django_querybudget.cache.stores.access import ReadMany
from django_querybudget.cache.stores.pulse import PULSE
from django_querybudget.cache.transactions import on_commit
from django_querybudget.cache.writing import invalidation, statements, watcher
from tests.cache import programs


def tokens_are_read_after_the_query() -> None:
    settled = fills.Fill.settled

    def late(fill: Any) -> Any:
        fill.tokens = {tag: token for tag, token in fill.tokens.items() if tag == PULSE}
        fill.take_tokens(fill.dependencies())
        return settled(fill)

    fills.Fill.settled = late  # type: ignore[method-assign]


def a_write_is_renewed_before_its_statement() -> None:
    add = transactions.Pending.add

    def renew_at_once(pending: Any, tags: Any, *, always_mark: bool = False) -> None:
        add(pending, tags, always_mark=always_mark)
        pending.renew()

    transactions.Pending.add = renew_at_once  # type: ignore[method-assign]


def a_transaction_is_renewed_before_its_commit() -> None:
    after = watcher.Writes.after

    def renew_too(its: Any, sql: Any, params: Any, many: bool, connection: Any, *rest: Any) -> None:
        after(its, sql, params, many, connection, *rest)
        pending = transactions.state_of(connection)._pending
        if pending is not None:
            pending.renew()

    watcher.Writes.after = renew_too  # type: ignore[method-assign,assignment]


def a_manual_transaction_is_taken_for_autocommit() -> None:
    mode_of = transactions.mode_of

    def naive(connection: Any) -> Any:
        mode = mode_of(connection)
        return transactions.Mode.AUTOCOMMIT if mode is transactions.Mode.MANUAL else mode

    for module in (transactions, fills, invalidation, watcher):
        module.mode_of = naive  # type: ignore[attr-defined]


def any_snapshot_may_be_stored() -> None:
    transactions.State.may_store = lambda *_: True  # type: ignore[method-assign]


def own_writes_are_forgotten() -> None:
    transactions.State.has_written = lambda _: False  # type: ignore[method-assign]


def a_dropped_callback_is_taken_for_a_waiting_one() -> None:
    on_commit._note_dropped = lambda _: None
    transactions.State._is_waiting = lambda *_: True  # type: ignore[method-assign]


def a_renewal_keeps_the_token() -> None:
    _replace_in_script("if what == 'renew' or lost or any then", "if lost or any then")


def a_token_comes_back() -> None:
    for module in (tokens, backends, redis):
        module.new_token = lambda: "1-0"  # type: ignore[attr-defined]


def an_entry_is_not_compared_with_its_tokens() -> None:
    reading.same = lambda *_: True  # type: ignore[attr-defined]


def tokens_of_a_group_come_from_its_last_look() -> None:
    """As if what the later ones of a group read were under the tokens that the first ones left."""
    keep = leases.keep

    def late(question: Any, fill: Any, answer: Any, lease: Any = None) -> bool:
        fill.tokens = {tag: token for tag, token in fill.tokens.items() if tag == PULSE}
        fill.take_tokens(fill.dependencies())
        return keep(question, fill, answer, lease)

    leases.keep = late  # type: ignore[attr-defined]


def rows_of_a_list_are_left_out() -> None:
    lists._keys = lambda *_: []


def tokens_of_rows_are_taken_for_older_than_the_query() -> None:
    def read(fill: Any, rows: Any, guard: str) -> bool:
        fill.take_tokens(rows)
        return True

    lists._read_after = read


def what_is_set_renews_no_list() -> None:
    statements._assigned = lambda *_: set()


def what_is_written_across_a_foreign_key_is_left_out() -> None:
    written_across = statements._written_across

    def without(*args: Any) -> Any:
        return {tag for tag in written_across(*args) if tags.parsed(tag).kind != "w"}

    statements._written_across = without


def rows_that_are_joined_are_left_out() -> None:
    lists._joined_keys = lambda *_: set()


def tables_that_are_joined_are_no_guards() -> None:
    def with_its_own(found: conditions.List) -> conditions.List:
        own = (tag for tag in found.guards if tags.parsed(tag).name == found.table.name)
        return replace(found, guards=frozenset(own))

    _lists_are_told(with_its_own)


def columns_that_a_list_names_are_left_out() -> None:
    def without_columns(found: conditions.List) -> conditions.List:
        kept = (tag for tag in found.tags if tags.parsed(tag).kind != "c")
        return replace(found, tags=frozenset(kept))

    _lists_are_told(without_columns)


def _lists_are_told(changed: Any) -> None:
    list_of = conditions.list_of

    def told(*args: Any) -> Any:
        found = list_of(*args)
        return None if found is None else changed(found)

    lists.list_of = told


def whoever_writes_is_taken_to_know() -> None:
    """What a process does not know that writes is not looked at when a list is read."""
    redis.settled = lambda values, twins: values | dict.fromkeys(twins, twins_of.SAME)


def what_was_stored_before_stays_when_a_reader_repairs_a_twin() -> None:
    _replace_in_script("(paired and kind == '3')", "false", scripts.ENSURE)


def what_was_stored_before_stays_when_a_writer_repairs_a_twin() -> None:
    _replace_in_script("differ = twin and value ~= before", "differ = false")


def a_twin_is_repaired_while_a_writer_is_in_flight() -> None:
    _replace_in_script("and not string.find(before, '|', 1, true)", "", scripts.ENSURE)


# No defects: what a process knows of the tables that has the code of before a migration


def no_foreign_key() -> None:
    _knowing(lambda columns: replace(columns, pins={}))


def one_foreign_key_less() -> None:
    """It is an integer to that process: a full save() sets all the foreign keys that it knows."""

    def without(columns: columns_of.Columns) -> columns_of.Columns:
        pins = {name: column for name, column in columns.pins.items() if name != "job_id"}
        return replace(columns, pins=pins)

    _knowing(without)


def _knowing(less: Any) -> None:
    of = columns_of.Columns.of
    columns_of.Columns.of = lambda model: less(of(model))  # type: ignore[method-assign,assignment]
    tables.forget()


# Not stale, and not to be taken for right


def nothing_is_stored() -> None:
    redis.RedisStore._write = lambda *_: False  # type: ignore[method-assign]
    redis.RedisStore._write_last = lambda *_: False  # type: ignore[method-assign]


def a_program_fails() -> None:
    """By an error of its own, which is no read of the past."""

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    programs.update = fail


# Found only when a writer dies


def no_mark_is_set() -> None:
    redis.RedisStore._mark = lambda *_: None  # type: ignore[method-assign]


def marks_are_not_looked_at() -> None:
    read = redis.RedisStore._read_many

    def without_marks(its: Any, keys: Any, wanted: Any) -> Any:
        entries, values = read(its, keys, wanted)
        return ReadMany(entries, {tag: value.partition("|")[0] for tag, value in values.items()})

    redis.RedisStore._read_many = without_marks  # type: ignore[method-assign]


def a_mark_comes_after_the_statement() -> None:
    renew = redis.RedisStore._renew
    mark = redis.RedisStore._mark

    def mark_and_renew(its: Any, wanted: Any, writer: str, marked: bool = False) -> None:
        mark(its, wanted, writer, 60.0)
        renew(its, wanted, writer, marked)

    redis.RedisStore._mark = lambda *_: None  # type: ignore[method-assign]
    redis.RedisStore._renew = mark_and_renew  # type: ignore[method-assign]


def a_renewal_erases_the_marks_of_others() -> None:
    _replace_in_script("if over > now and over - now <= 86400000 then", "if ARGV[1] == 'mark' then")


def _replace_in_script(old: str, new: str, script: scripts.Script = scripts.CHANGE) -> None:
    text = script.text.decode()
    assert old in text
    script.__init__(text.replace(old, new))  # type: ignore[misc]
