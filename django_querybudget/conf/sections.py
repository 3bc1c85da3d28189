"""The sections of ``QUERYBUDGET`` that are a dict of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .accepted import (
    Replica,
    boolean,
    callable_or_none,
    dotted_names,
    fraction,
    key_prefix,
    lowercase_set,
    mapping_of_views,
    nonempty_string,
    number,
    regexes,
    replicas,
    seconds,
    seconds_or_none,
    some_seconds,
    string_lists,
    string_set,
    strings,
    strings_by_name,
    whole_number,
    word_or_none,
)
from .declaration import Section, Setting

__all__ = ["CacheSettings", "IgnoreQueriesSettings", "IndexesSettings", "ProductionSettings"]


class IndexesSettings(Section):
    """The keys of ``QUERYBUDGET["INDEXES"]``."""

    IGNORE = Setting[tuple[str, ...]](
        default=(),
        parse=strings,
        accepts='a list of patterns of model labels or index names, ["payment.*", "one_review_*"]',
    )
    """Models and indexes that no check and no audit reports."""

    THIRD_PARTY = Setting(
        default=False,
        parse=boolean,
        accepts="True or False",
    )
    """Whether models of packages in site-packages are checked, audited and advised on too."""


class CacheSettings(Section):
    """The keys of ``QUERYBUDGET["CACHE"]``.

    That the section is there, even empty, makes every process of the project invalidate; without
    it only those do that import :mod:`django_querybudget.cache`.
    """

    ALIAS = Setting(
        default="default",
        parse=nonempty_string,
        accepts="the alias of a cache in CACHES",
    )
    """The cache that holds the tokens, and the entries of who names no other."""

    TIMEOUT = Setting[float | None](
        default=300.0,
        parse=seconds_or_none,
        accepts="a number of seconds above 0, or None for no limit",
    )
    """How long an entry lives at most, where the call site says nothing; seconds."""

    SCOPES = Setting[Mapping[str, tuple[str, ...]]](
        default={},
        parse=string_lists,
        accepts='a dict of models and their fields: {"payment.Payment": ["payer", "recipient"]}',
    )
    """Fields by whose value a table's entries are told apart when a row is written."""

    IGNORED_TABLES = Setting[frozenset[str]](
        default=frozenset({"django_session"}),
        parse=string_set,
        accepts="a list of table names",
    )
    """Tables whose writes invalidate nothing, and whose rows are never cached."""

    NEVER_STORE = Setting[frozenset[str]](
        default=frozenset(),
        parse=string_set,
        accepts='a list of models and fields: ["accounts.User.ssn", "health.Record"]',
    )
    """Models and fields whose values are never written to a cache."""

    FUNCTIONS = Setting[frozenset[str]](
        default=frozenset(),
        parse=string_set,
        accepts="a list of names of database functions that only depend on their arguments",
    )
    """The project's database functions that may stand in a cached query, and write nothing."""

    IDENTITY = Setting[Mapping[str, str]](
        default={},
        parse=strings_by_name,
        accepts='a dict of aliases and names: {"default": "main", "default_direct": "main"}',
    )
    """Which database an alias is, where its server cannot tell; equal names are one database."""

    SESSION = Setting[Callable[[Any], str | None] | None](
        default=None,
        parse=callable_or_none,
        accepts="the dotted path of a callable that takes a connection and returns text, or None",
    )
    """What decides about answers besides what statements set: the tenant, say."""

    IGNORED_VARIABLES = Setting[frozenset[str]](
        default=frozenset(),
        parse=lowercase_set,
        accepts='a list of names of session variables that change no answer, ["app.request_id"]',
    )
    """Session variables that are not part of an entry's key."""

    ROW_SECURITY = Setting[Mapping[str, tuple[str, ...]]](
        default={},
        parse=string_lists,
        accepts='a dict of models and variables: {"payment.Payment": ["app.tenant_id"]}',
    )
    """Session variables that the row-level security of a model's table depends on."""

    DELETE_SIGNALS = Setting[frozenset[str]](
        default=frozenset(),
        parse=string_set,
        accepts='a list of models, ["payment.Payment"]',
    )
    """Models whose ``post_delete`` renews; their deletes are no fast deletes any more."""

    M2M_SIGNALS = Setting[frozenset[str]](
        default=frozenset(),
        parse=string_set,
        accepts='a list of models of many-to-many tables, ["jobs.Job_subcategories"]',
    )
    """Many-to-many tables whose ``m2m_changed`` renews; ``add()`` asks for their rows first."""

    DECODED_BYTES = Setting(
        default=8 * 1024 * 1024,
        parse=whole_number(0),
        accepts="a whole number of bytes, 0 for none",
    )
    """How much of what it read last each process keeps decoded; bytes as they are stored."""

    IN_FLIGHT_MARKS = Setting(
        default=True,
        parse=boolean,
        accepts="True or False",
    )
    """Whether a tag is marked before its rows are written: one round trip per set of tables."""

    MARK_TIMEOUT = Setting[float](
        default=30.0,
        parse=some_seconds,
        accepts="a number of seconds above 0",
    )
    """How long a mark of a process that died keeps its tags out of the cache; seconds."""

    MAX_BYTES = Setting(
        default=1_000_000,
        parse=whole_number(0),
        accepts="a whole number of bytes, 0 for no limit",
    )
    """The largest entry that is stored, bytes: memcached refuses a value of more than 1 MB."""

    RECOVERY_TIME = Setting[float](
        default=2.0,
        parse=seconds,
        accepts="a number of seconds; 0 in tests only, where one process clears the cache",
    )
    """How long a cache that was empty, or took no writes, is left alone before it is used."""

    TOKEN_PREFIX = Setting(
        default="",
        parse=key_prefix,
        accepts="at most 50 printable ASCII characters without a space",
    )
    """What the keys of tokens begin with, whatever the cache's own KEY_PREFIX is."""

    REPLICAS = Setting[Mapping[str, Replica]](
        default={},
        parse=replicas,
        accepts='a dict of aliases: {"replica": {"primary": "default", "lag": 5}}, lag in seconds',
    )
    """Read replicas: whose rows they hold, and how far behind they may be."""

    VIEWS = Setting[Mapping[str, Any]](
        default={},
        parse=mapping_of_views,
        accepts=(
            'a dict of views ("jobs:list", "jobs:*", "/route/", "*") and seconds, or a dict of '
            "what cached_view accepts"
        ),
    )
    """The views that CachedViewMiddleware caches; a decorator of the view's comes first."""

    AUDIT = Setting[float](
        default=0.0,
        parse=fraction,
        accepts="a number from 0 to 1",
    )
    """The share of the hits that is computed again after the response, and compared."""

    SURROGATE_KEYS = Setting[str | None](
        default=None,
        parse=word_or_none("Cache-Tag", "Surrogate-Key", "xkey", "Cache-Groups"),
        accepts='"Cache-Tag", "Surrogate-Key", "xkey" or "Cache-Groups", or None',
    )
    """The header in which a cached view names what its answer depends on, for a CDN."""

    LEASE_FROM = Setting[float | None](
        default=0.02,
        parse=lambda value: None if value is None else seconds(value),
        accepts="a number of seconds, or None for never",
    )
    """How dear a query is that one process runs at a time for one key of the cache; seconds."""

    CLOCK_SKEW = Setting[float](
        default=1.0,
        parse=seconds,
        accepts="a number of seconds",
    )
    """How far apart the clocks of the machines may be; seconds."""


class ProductionSettings(Section):
    """The keys of ``QUERYBUDGET["PRODUCTION"]``; that it is there, even empty, turns it on."""

    ALIAS = Setting(
        default="default",
        parse=nonempty_string,
        accepts="the alias of a cache in CACHES",
    )
    """The cache that the processes' records are kept in."""

    INTERVAL = Setting[float](
        default=5.0,
        parse=number(0.1, 60),
        accepts="a number of seconds from 0.1 to 60",
    )
    """How often each process writes its record to the cache; seconds."""

    EXPORTERS = Setting[tuple[str, ...]](
        default=(),
        parse=strings,
        accepts="a list of dotted paths of exporters",
    )
    """Who is told of what was measured: Prometheus, OpenTelemetry, a callable of the project's."""


class IgnoreQueriesSettings(Section):
    """Statements that are left out of every count, by any of these."""

    TABLES = Setting[frozenset[str]](
        default=frozenset(),
        parse=string_set,
        accepts='a list of names of tables ("audit_log")',
    )
    """Statements that name these tables and no other."""

    SQL = Setting[tuple[re.Pattern[str], ...]](
        default=(),
        parse=regexes,
        accepts="a list of regular expressions, searched for in the SQL",
    )
    """Statements whose SQL, with its placeholders, one of these is found in."""

    CALLERS = Setting[frozenset[str]](
        default=frozenset(),
        parse=dotted_names,
        accepts='a list of dotted names of modules, classes and functions ("shop.audit")',
    )
    """Statements that are sent while code of these runs."""
