"""Which statements change what a session sees: read from their text, and from parameters.

A statement that is not understood for certain is a :data:`LOSS`: from then on nothing is known of
the session. Only statements that may change a session are looked at closely, so that an ORM's
ordinary statement costs a few searches in its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from django_querybudget.sql.memory import Memo

from .keys import Unkeyable, spelled

__all__ = ["DEFAULT", "TEMPORARY", "Change", "Kind", "changes_of"]

LONGEST = 20_000
"""A longer statement is not taken apart, in characters: it is a loss where it may be a change."""

TEMPORARY = "temporary table "
"""Begins the name of a variable that stands for a temporary table."""

DEFAULT = ""
"""The value of a variable that is as it was when the connection was opened."""

_ORDINARY = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "VALUES", "(SELECT"})
_SCHEMA = frozenset({"CREATE", "ALTER", "DROP", "RENAME", "IMPORT"})
_BEFORE_A_NAME = frozenset(
    """
    CREATE OR REPLACE LOCAL GLOBAL TEMP TEMPORARY INTO TABLE VIEW IF NOT EXISTS RECURSIVE
    """.split()  # noqa: SIM905  # a list of words reads better as text
)
_PLAIN_WRITES = frozenset({"INSERT", "UPDATE", "DELETE"})
_TOKEN = re.compile(
    r"(?P<space>\s+|--[^\n\r]*|/\*(?:[^*/]|\*(?!/)|/(?!\*))*\*/)"
    r"|(?P<text>'(?:[^'\\]|'')*')"
    r'|(?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`)'
    r"|(?P<place>%s)"
    r"|(?P<word>[@A-Za-z_][\w.$@]*)"
    r"|(?P<number>[-+]?\d[\w.]*)"
    r"|(?P<sign>:=|.)",
    re.DOTALL,
)
_DOLLAR_QUOTED = re.compile(r"\$(\w*)\$.*?\$\1\$", re.DOTALL)
_MAY_CHANGE = re.compile(
    r"\b(?:SET|RESET|DISCARD|USE|PRAGMA|ATTACH|DETACH|DO|CALL|EXECUTE|TEMP|TEMPORARY|set_config)\b",
    re.IGNORECASE,
)
# Variables that change no answer: how it is computed, how long it may take, what is logged.
_HARMLESS = re.compile(
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


class Kind(Enum):
    """What a statement does to a session."""

    SET = "gives a variable a value"
    RESET_ALL = "gives all variables but the role their default"
    DISCARD_ALL = "makes the session as new"
    SAVEPOINT = "savepoint"
    RELEASE = "release"
    ROLLBACK_TO = "rollback to"
    END = "ends the transaction"
    LOSS = "may change anything"
    SCHEMA = "changes tables, views or policies"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a session."""

    kind: Kind
    name: str = ""
    """The variable; for a loss, what caused it."""

    value: str | None = None
    """The value as it is spelled in the statement; None where it is not known."""

    local: bool | None = False
    """Whether it lasts for the transaction alone; None where it is not known."""

    places: tuple[int | None, int | None] = (None, None)
    """The parameters that are the name and whether it is local, where parameters are."""


def changes_of(sql: str, params: Any, vendor: str) -> tuple[Change, ...]:
    """Return what the statement changes of the session it runs in."""
    first = sql[:16].lstrip().partition(" ")[0].upper()
    if first in _ORDINARY and ";" not in sql:
        lowered = sql.lower()
        if "set_config" not in lowered and (first in _PLAIN_WRITES or "temp" not in lowered):
            return ()
    if len(sql) > LONGEST:
        return (Change(Kind.LOSS, "a long statement"),) if _MAY_CHANGE.search(sql) else ()
    found = _all_changes[sql, vendor]
    if not found:
        return found
    return tuple(known for change in found for known in _with_params(change, params))


def _with_params(change: Change, params: Any) -> Iterator[Change]:
    """Put in what the parameters say; nothing for a variable that changes no answer."""
    name, value, local = change.name, change.value, change.local
    named, lasting = change.places
    try:
        if named is not None:
            name = params[named].lower()
            if _HARMLESS.fullmatch(name):
                return
        if lasting is not None:
            local = params[lasting] if isinstance(params[lasting], bool) else None
    except (TypeError, LookupError, AttributeError):
        yield Change(Kind.LOSS, "set_config")
        return
    if value is not None and "\0" in value:
        try:
            value = "".join(
                spelled(params[int(part[1:])]) if part.startswith("\0") else part
                for part in re.split(r"(\0\d+)", value)
            )
        except (Unkeyable, TypeError, LookupError, RecursionError):
            value = None
    yield Change(change.kind, name, value, local)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str

    @property
    def word(self) -> str:
        """The word in capitals; empty for anything else."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def name(self) -> str:
        """The name that the word or quoted identifier is, as the server folds it."""
        if self.kind == "quoted":
            return self.text[1:-1].lower()
        return self.text.lower()


def _statements(sql: str) -> Iterator[list[_Token]]:
    """Split at semicolons, spaces and comments left out, parameters numbered."""
    piece: list[_Token] = []
    places = 0
    for match in _TOKEN.finditer(_DOLLAR_QUOTED.sub(" '' ", sql)):
        kind, text = match.lastgroup or "", match[0]
        if kind == "space":
            # MySQL runs what stands in such a comment.
            if text.startswith(("/*!", "/*M!")):
                piece.append(_Token("sign", "!"))
            continue
        if kind == "place":
            text = f"\0{places}"
            places += 1
        elif kind in ("text", "quoted"):
            places += text.count("%s")
        if text == ";":
            yield piece
            piece = []
        else:
            piece.append(_Token(kind, text))
    yield piece


def _changes(key: tuple[str, str]) -> tuple[Change, ...]:
    sql, vendor = key
    found: list[Change] = []
    for piece in _statements(sql):
        if piece:
            found += _changes_in(piece, vendor)
    if len(found) > 1 and any(change.kind is Kind.END for change in found):
        # A transaction of its own in one text: whether it was committed is not told.
        found = [
            replace(change, value=None) if change.kind is Kind.SET else change for change in found
        ]
    return tuple(found)


_all_changes = Memo(_changes)


def _changes_in(piece: list[_Token], vendor: str) -> list[Change]:  # noqa: PLR0911  # by first word
    first = piece[0].word
    second = piece[1].word if len(piece) > 1 else ""
    if piece[0].text == "!":
        return [Change(Kind.LOSS, "a comment that runs")]
    if first == "SET":
        if vendor == "mysql":
            return _set_of_mysql(piece[1:])
        return _set(piece[1:])
    if first == "RESET" and vendor != "mysql":
        return _reset(piece[1:])
    if first == "DISCARD":
        return [Change(Kind.DISCARD_ALL)] if second == "ALL" else _discard(second)
    if first == "SAVEPOINT":
        return [Change(Kind.SAVEPOINT, piece[-1].name)]
    if first == "RELEASE":
        return [Change(Kind.RELEASE, piece[-1].name)]
    if first in ("ROLLBACK", "ABORT", "COMMIT", "END"):
        if any(token.word == "TO" for token in piece):
            return [Change(Kind.ROLLBACK_TO, piece[-1].name)]
        return [Change(Kind.END)]
    if first == "USE" and vendor == "mysql" and len(piece) == 2:
        return [Change(Kind.SET, "database", piece[1].name)]
    if first in ("PRAGMA", "ATTACH", "DETACH") and vendor == "sqlite":
        return _of_sqlite(piece)
    if first in ("CALL", "DO", "EXECUTE", "USE") or (first, second) == ("ALTER", "SESSION"):
        return [Change(Kind.LOSS, first)]
    schema = [Change(Kind.SCHEMA)] if first in _SCHEMA else []
    return [*schema, *_temporary(piece), *_set_config(piece)]


def _set(tokens: list[_Token]) -> list[Change]:  # noqa: PLR0911  # one form after another
    """Return what ``SET`` of the SQL standard and PostgreSQL changes."""
    local = bool(tokens) and tokens[0].word == "LOCAL"
    if tokens and tokens[0].word in ("LOCAL", "SESSION") and len(tokens) > 1:
        if tokens[1].word == "CHARACTERISTICS":
            return []
        if tokens[1].word == "AUTHORIZATION":
            return _variable("session_authorization", tokens[2:], local=False)
        tokens = tokens[1:]
    if len(tokens) < 2:
        return [Change(Kind.LOSS, "SET")]
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
    return [Change(Kind.LOSS, "SET")]


def _variable(name: str, value: list[_Token], *, local: bool | None) -> list[Change]:
    if _HARMLESS.fullmatch(name):
        return []
    return [Change(Kind.SET, name, _value(value), local)]


def _value(tokens: list[_Token]) -> str | None:
    if len(tokens) == 1 and tokens[0].word in ("DEFAULT", "NONE", "LOCAL"):
        return DEFAULT
    if not tokens or any(token.kind == "sign" and token.text not in ",()." for token in tokens):
        return None
    return " ".join(token.text for token in tokens)


def _reset(tokens: list[_Token]) -> list[Change]:
    words = [token.word or token.name for token in tokens]
    if words == ["ALL"]:
        return [Change(Kind.RESET_ALL)]
    if words == ["SESSION", "AUTHORIZATION"]:
        return [Change(Kind.SET, "session_authorization", DEFAULT)]
    if words == ["TIME", "ZONE"]:
        return [Change(Kind.SET, "timezone", DEFAULT)]
    if len(tokens) != 1:
        return [Change(Kind.LOSS, "RESET")]
    name = tokens[0].name
    return [] if _HARMLESS.fullmatch(name) else [Change(Kind.SET, name, DEFAULT)]


def _discard(what: str) -> list[Change]:
    if what in ("TEMP", "TEMPORARY"):
        return [Change(Kind.SET, TEMPORARY, DEFAULT)]
    return []  # plans, sequences


_SCOPES = frozenset({"SESSION", "LOCAL", "GLOBAL", "PERSIST", "PERSIST_ONLY"})


def _set_of_mysql(tokens: list[_Token]) -> list[Change]:
    words = [token.word for token in tokens[:3]]
    while words and words[0] in _SCOPES:
        words = words[1:]
    if words[:1] in (["TRANSACTION"], ["PASSWORD"], ["DEFAULT"], ["STATEMENT"], ["RESOURCE"]):
        return []
    if words[:1] == ["ROLE"]:
        return [Change(Kind.SET, "role", _value(tokens[1:]))]
    if words[:1] == ["NAMES"] or words[:1] == ["CHARSET"] or words[:2] == ["CHARACTER", "SET"]:
        return [Change(Kind.SET, "names", _value(tokens[1:]))]
    found: list[Change] = []
    scope = ""
    for assignment in _separated(tokens):
        if assignment and assignment[0].word in _SCOPES:
            scope, assignment = assignment[0].word, assignment[1:]  # noqa: PLW2901
        if len(assignment) < 3 or assignment[1].text not in ("=", ":="):
            return [Change(Kind.LOSS, "SET")]
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


def _separated(tokens: list[_Token]) -> Iterator[list[_Token]]:
    part: list[_Token] = []
    depth = 0
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")")
        if token.text == "," and not depth:
            yield part
            part = []
        else:
            part.append(token)
    yield part


def _of_sqlite(piece: list[_Token]) -> list[Change]:
    first = piece[0].word
    if first == "ATTACH":
        return [Change(Kind.SET, f"attached {piece[-1].name}", _value(piece[1:]))]
    if first == "DETACH":
        return [Change(Kind.SET, f"attached {piece[-1].name}", DEFAULT)]
    if len(piece) < 3:
        return []  # it asks for a value
    name = piece[1].name.rpartition(".")[2]
    if _HARMLESS.fullmatch(name):
        return []
    value = [token for token in piece[2:] if token.text not in ("=", "(", ")")]
    return [Change(Kind.SET, name, _value(value))]


def _temporary(piece: list[_Token]) -> list[Change]:
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
    return [Change(Kind.SET, TEMPORARY + name, None)]


def _set_config(piece: list[_Token]) -> list[Change]:
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
        return [Change(Kind.LOSS, "set_config")]
    return [
        change for name in names for change in _variable(name.text[1:-1].lower(), [], local=None)
    ]


def _configured(name: _Token, value: _Token, local: _Token) -> list[Change]:
    if name.kind not in ("text", "place"):
        return [Change(Kind.LOSS, "set_config")]
    known = value.text if value.kind in ("text", "place") else None
    lasting = {"TRUE": True, "FALSE": False}.get(local.word)
    place = int(local.text[1:]) if local.kind == "place" else None
    if name.kind == "place":
        return [Change(Kind.SET, "", known, lasting, (int(name.text[1:]), place))]
    spelled_name = name.text[1:-1].lower()
    if _HARMLESS.fullmatch(spelled_name):
        return []
    return [Change(Kind.SET, spelled_name, known, lasting, (None, place))]


def _is_set_config(token: _Token) -> bool:
    return token.kind in ("word", "quoted") and token.name.rpartition(".")[2] == "set_config"
