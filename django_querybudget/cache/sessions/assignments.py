"""Statements that give a variable of a session a value, each in the way of its database.

What is not a variable but lasts as one (a temporary table, an attached database) is told as one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .kinds import DEFAULT, TEMPORARY, Change, ChangeKind
from .tokens import SessionToken

__all__ = [
    "HARMLESS",
    "discard",
    "of_sqlite",
    "reset",
    "set_config",
    "set_of_mysql",
    "set_of_standard",
    "temporary",
]

_BEFORE_A_NAME = frozenset(
    """
    CREATE OR REPLACE LOCAL GLOBAL TEMP TEMPORARY INTO TABLE VIEW IF NOT EXISTS RECURSIVE
    """.split()
)

# Variables that change no answer: how it is computed, how long it may take, what is logged.
HARMLESS = re.compile(
    r"""
    (?: enable_\w+ | log_\w+ | debug_\w+ | jit\w* | track_\w+ | auto_explain\..+ | plan_cache_mode
      | \w*_timeout | \w*work_mem | \w+_cost | \w+_buffers | max_parallel\w* | parallel_\w+
      | default_transaction_\w+ | transaction_\w+ | synchronous_commit | application_name
      | client_min_messages | cursor_tuple_fraction | from_collapse_limit | join_collapse_limit
      | geqo\w* | statement_mem | effective_\w+ | force_parallel_mode | idle_\w+ | seed
      | pgtrigger\..+ | pghistory\..+ | session_replication_role | check_function_bodies
      # MySQL's
      | autocommit | sql_auto_is_null | foreign_key_checks | unique_checks | tx_isolation
      | tx_read_only | sql_log_bin | profiling\w* | optimizer_\w+ | max_execution_time
      | max_statement_time | wsrep_\w+ | insert_id | last_insert_id | rand_seed\d | timestamp
      # SQLite's
      | foreign_keys | defer_foreign_keys | legacy_alter_table | synchronous | journal_\w+
      | cache_\w+ | temp_store\w* | mmap_size | wal_\w+ | locking_mode | page_\w+ | auto_vacuum
      | incremental_vacuum | optimize | analysis_limit | query_only | secure_delete | user_version
      | application_id | (?:\w+_)?(?:info|xinfo|list|check) | quick_check | threads
      | automatic_index | checkpoint_fullfsync | fullfsync | shrink_memory | soft_heap_limit
      | hard_heap_limit | trusted_schema | cell_size_check | max_page_count | freelist_count
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)

_NAMES = {"names": "client_encoding", "schema": "search_path", "time": "timezone"}


def set_of_standard(tokens: list[SessionToken]) -> list[Change]:  # noqa: PLR0911  # one form after another
    """Return what ``SET`` of the SQL standard and PostgreSQL changes."""
    local = bool(tokens) and tokens[0].word == "LOCAL"
    if tokens and tokens[0].word in ("LOCAL", "SESSION") and len(tokens) > 1:
        if tokens[1].word == "CHARACTERISTICS":
            return []
        if tokens[1].word == "AUTHORIZATION":
            return _variable("session_authorization", tokens[2:], local=False)
        tokens = tokens[1:]
    if len(tokens) < 2:
        return [Change(ChangeKind.LOSS, "SET")]
    first, second = tokens[0].word, tokens[1].word
    if first in ("CONSTRAINTS", "TRANSACTION"):
        return []
    if first == "SESSION" and second == "AUTHORIZATION":
        return _variable("session_authorization", tokens[2:], local=local)
    if first == "TIME" and second == "ZONE":
        return _variable("timezone", tokens[2:], local=local)
    if first in ("ROLE", "NAMES", "SCHEMA") and second != "TO" and tokens[1].text != "=":
        return _variable(_NAMES.get(first.lower(), "role"), tokens[1:], local=local)
    if first in ("SEED", "XML"):
        return []
    if second == "TO" or tokens[1].text == "=":
        return _variable(tokens[0].name, tokens[2:], local=local)
    return [Change(ChangeKind.LOSS, "SET")]


def _variable(name: str, value: list[SessionToken], *, local: bool | None) -> list[Change]:
    if HARMLESS.fullmatch(name):
        return []
    return [Change(ChangeKind.SET, name, _value(value), local)]


def _value(tokens: list[SessionToken]) -> str | None:
    if len(tokens) == 1 and tokens[0].word in ("DEFAULT", "NONE", "LOCAL"):
        return DEFAULT
    if not tokens or any(token.kind == "sign" and token.text not in ",()." for token in tokens):
        return None
    return " ".join(token.text for token in tokens)


def reset(tokens: list[SessionToken]) -> list[Change]:
    words = [token.word or token.name for token in tokens]
    if words == ["ALL"]:
        return [Change(ChangeKind.RESET_ALL)]
    if words == ["SESSION", "AUTHORIZATION"]:
        return [Change(ChangeKind.SET, "session_authorization", DEFAULT)]
    if words == ["TIME", "ZONE"]:
        return [Change(ChangeKind.SET, "timezone", DEFAULT)]
    if len(tokens) != 1:
        return [Change(ChangeKind.LOSS, "RESET")]
    name = tokens[0].name
    return [] if HARMLESS.fullmatch(name) else [Change(ChangeKind.SET, name, DEFAULT)]


def discard(what: str) -> list[Change]:
    if what in ("TEMP", "TEMPORARY"):
        return [Change(ChangeKind.SET, TEMPORARY, DEFAULT)]
    return []  # plans, sequences


_SCOPES = frozenset({"SESSION", "LOCAL", "GLOBAL", "PERSIST", "PERSIST_ONLY"})


def set_of_mysql(tokens: list[SessionToken]) -> list[Change]:
    words = [token.word for token in tokens[:3]]
    while words and words[0] in _SCOPES:
        words = words[1:]
    if words[:1] in (["TRANSACTION"], ["PASSWORD"], ["DEFAULT"], ["STATEMENT"], ["RESOURCE"]):
        return []
    if words[:1] == ["ROLE"]:
        return [Change(ChangeKind.SET, "role", _value(tokens[1:]))]
    if words[:1] == ["NAMES"] or words[:1] == ["CHARSET"] or words[:2] == ["CHARACTER", "SET"]:
        return [Change(ChangeKind.SET, "names", _value(tokens[1:]))]
    found: list[Change] = []
    scope = ""
    for assignment in _separated(tokens):
        if assignment and assignment[0].word in _SCOPES:
            scope, assignment = assignment[0].word, assignment[1:]  # noqa: PLW2901  # what follows the scope's word
        if len(assignment) < 3 or assignment[1].text not in ("=", ":="):
            return [Change(ChangeKind.LOSS, "SET")]
        name = assignment[0].name
        if name.startswith("@@"):
            prefix, _, rest = name[2:].rpartition(".")
            name, own = rest, prefix.upper() or scope
        elif name.startswith("@"):
            continue  # no table and no view can read it, and a function must be declared
        else:
            own = scope
        if own in ("GLOBAL", "PERSIST", "PERSIST_ONLY"):
            continue
        found += _variable(name, assignment[2:], local=False)
    return found


def _separated(tokens: list[SessionToken]) -> Iterator[list[SessionToken]]:
    part: list[SessionToken] = []
    depth = 0
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")")
        if token.text == "," and not depth:
            yield part
            part = []
        else:
            part.append(token)
    yield part


def of_sqlite(piece: list[SessionToken]) -> list[Change]:
    first = piece[0].word
    if first == "ATTACH":
        return [Change(ChangeKind.SET, f"attached {piece[-1].name}", _value(piece[1:]))]
    if first == "DETACH":
        return [Change(ChangeKind.SET, f"attached {piece[-1].name}", DEFAULT)]
    if len(piece) < 3:
        return []  # it asks for a value
    name = piece[1].name.rpartition(".")[2]
    if HARMLESS.fullmatch(name):
        return []
    value = [token for token in piece[2:] if token.text not in ("=", "(", ")")]
    return [Change(ChangeKind.SET, name, _value(value))]


def temporary(piece: list[SessionToken]) -> list[Change]:
    """Return a change where the statement makes a table, which hides others of its name."""
    words = [token.word for token in piece]
    if "CREATE" in words[:1]:
        start = 0
    elif "INTO" in words:
        start = words.index("INTO")
    else:
        return []
    if not {"TEMP", "TEMPORARY"}.intersection(words[start : start + 5]):
        return []
    rest = [token for token in piece[start:] if token.word not in _BEFORE_A_NAME]
    name = rest[0].name.rpartition(".")[2] if rest else ""
    return [Change(ChangeKind.SET, TEMPORARY + name, None)]


def set_config(piece: list[SessionToken]) -> list[Change]:
    """Return what the calls of PostgreSQL's ``set_config`` change."""
    places = [at for at, token in enumerate(piece) if _is_set_config(token)]
    if not places:
        return []
    found: list[Change] = []
    at = 1
    while piece[0].word == "SELECT" and at in places and len(piece) >= at + 8:
        opened, name, one, value, two, local, closed = piece[at + 1 : at + 8]
        if [each.text for each in (opened, one, two, closed)] != ["(", ",", ",", ")"]:
            break
        found += _configured(name, value, local)
        at += 8
        if at + 1 < len(piece) and piece[at].word == "AS":
            at += 2
        if at == len(piece):
            return found
        if piece[at].text != ",":
            break
        at += 1
    # Elsewhere in a statement it may run for no row, or for many.
    names = [piece[at + 2] for at in places if at + 2 < len(piece)]
    if len(names) < len(places) or any(name.kind != "text" for name in names):
        return [Change(ChangeKind.LOSS, "set_config")]
    return [
        change for name in names for change in _variable(name.text[1:-1].lower(), [], local=None)
    ]


def _configured(name: SessionToken, value: SessionToken, local: SessionToken) -> list[Change]:
    if name.kind not in ("text", "place"):
        return [Change(ChangeKind.LOSS, "set_config")]
    known = value.text if value.kind in ("text", "place") else None
    lasting = {"TRUE": True, "FALSE": False}.get(local.word)
    place = int(local.text[1:]) if local.kind == "place" else None
    if name.kind == "place":
        return [Change(ChangeKind.SET, "", known, lasting, (int(name.text[1:]), place))]
    spelled_name = name.text[1:-1].lower()
    if HARMLESS.fullmatch(spelled_name):
        return []
    return [Change(ChangeKind.SET, spelled_name, known, lasting, (None, place))]


def _is_set_config(token: SessionToken) -> bool:
    return token.kind in ("word", "quoted") and token.name.rpartition(".")[2] == "set_config"
