"""What writes each query to a log: :func:`make_recorder`."""

from __future__ import annotations

from collections.abc import Callable
from sys import _getframe
from typing import TYPE_CHECKING, Any

from django_querybudget.conf import conf
from django_querybudget.sql.text import sql_text
from django_querybudget.stacks import (
    TOOLS_OWN,
    RawOrigin,
    Trail,
    find_serializers,
    locate,
    trail,
    whole_trail,
)

from .ignoring import leaving_out
from .raw import UNKNOWN_FROM, RawRecord
from .records import QueryLog

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_querybudget.evidence import Evidence

    from .hook import Recorder

__all__ = ["make_recorder"]


def make_recorder(  # noqa: C901, PLR0915 - see below
    log: QueryLog, aliases: frozenset[str] | None, origins: bool, most: int
) -> tuple[Recorder, Callable[[], None]]:
    """Return what writes to ``log``, and what ends it for good.

    It keeps ``most`` statements, and counts the others.

    Once ended it does not hold the log: a task that outlives its request keeps a copy of the
    context with the recorder in it, for as long as the process if it is a pool's.
    """
    # A closure, since its names are the cheapest to reach: this runs for every query.
    append: Callable[[RawRecord], None] | None = log.append
    evidence: Evidence | None = log.evidence
    kept = log.raw
    count_only: Callable[[RawRecord], None] | None = log.count_only
    leaves_out = leaving_out(origins=origins)
    trail_of = whole_trail if conf.VERBOSITY > 1 else trail
    new = tuple.__new__  # RawRecord's own __new__ is a call in Python more.
    find_serializers()

    def record(  # noqa: C901, PLR0912 - one function: each call more is paid by every query
        sql: object,
        params: object,
        many: bool,
        connection: BaseDatabaseWrapper,
        started: float,
        duration: float,
        error: BaseException | None,
        cursor: Any,
    ) -> None:
        alias = connection.alias
        add, noted = append, evidence
        if add is None or (aliases is not None and alias not in aliases):
            return
        if type(sql) is not str:
            text = sql_text(sql, connection)
            sql = str(sql) if text is None else text
        frame = _getframe(4)  # who called cursor.execute(): up to it all are ours or Django's
        if leaves_out is not None and leaves_out(sql, frame):
            return
        if many:
            if not isinstance(params, list | tuple):
                params = None  # An iterator that the driver has used up, or will.
        elif type(params) is list:
            params = tuple(params)  # The caller's own: it may be changed and sent again.
        elif type(params) is dict:
            params = params.copy()
        failure = None if error is None else type(error)
        origin: RawOrigin | None = None
        way: Trail | None = None
        inside = 0
        if origins:
            origin, project = locate(frame)
            if origin is TOOLS_OWN:
                return
            if noted is not None:
                way = trail_of(project)
                inside = noted.look_inside(frame, project)
        vendor = connection.vendor
        # Past Django's cursor, whose __getattr__ costs as much as all the rest.
        rowcount = getattr(cursor.cursor, "rowcount", -1) if error is None else -1
        if type(rowcount) is not int or rowcount >= UNKNOWN_FROM:
            rowcount = -1  # some drivers say None, some 2⁶⁴ - 1, of what they do not know
        raw = new(
            RawRecord,
            (
                sql, params, many, alias, vendor, started, duration, failure, origin, way, inside,
                rowcount,
            ),
        )  # fmt: skip
        if len(kept) >= most:
            if count_only is not None:
                count_only(raw)
            return
        add(raw)
        if noted is None:
            return
        same = noted.texts.get(sql)
        if same is None:
            noted.texts[sql] = [raw]
            noted.note_first(raw, frame)
        else:
            same.append(raw)
            if len(same) >= noted.threshold:
                # cursor.execute() itself: where the project's line calls it, a walk to that line
                # has a frame inside of it, as of any other query.
                noted.note_repeat(raw, same, _getframe(3))

    def close() -> None:
        nonlocal append, count_only, evidence, kept
        append = count_only = evidence = None
        kept = []

    return record, close
