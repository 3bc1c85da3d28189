"""The seam other apps listen on.

``queries_measured``
    Sent when a measured scope is over and its number of queries is final: for a view, when its
    response is done (a stream's, when the stream ended or was closed). ``sender`` is the class
    that measured, ``report`` a :class:`~django_querybudget.reports.QueryReport`, ``request`` and
    ``response`` the request and its response. A receiver's exception is logged, not raised.

``nplusone_found``
    Sent once for a measured scope that has N+1 queries, after its count is final. ``sender`` is
    :class:`~django_querybudget.reports.QueryReport`, ``report`` the report, ``findings`` what was
    found: never empty.

``cache_renewed``
    Sent after new tokens were put into the cache, so that nothing is read any more that was stored
    before: once for a transaction when it is committed (or rolled back in a way that could have
    been a commit), for a statement outside of one, and for ``invalidate()``. ``alias`` is that of
    the connection that wrote, None for tags of the project's own outside of a transaction.
    ``tables`` are the names of the tables that were written; ``rows`` has, for each table of which
    all changed rows are known, their primary keys as text (none for new rows alone): a table that
    is missing there may have changed in any row. ``tags`` are those given to
    ``cached_queryset(tags=…)``. ``everything`` is whether all of the database is meant.
    It is sent in the thread that writes, by ``send_robust()``: an exception is logged. A receiver
    that writes with the ORM causes another.

``dependencies_renewed``
    Sent at the same moments, after ``cache_renewed``. ``names`` are those of what was renewed, as
    cached views tell them in the header that ``QUERYBUDGET["CACHE"]["SURROGATE_KEYS"]`` names: a
    CDN that is told to purge them keeps no answer that depends on it.
"""

from __future__ import annotations

from django.dispatch import Signal

__all__ = ["cache_renewed", "dependencies_renewed", "nplusone_found", "queries_measured"]

queries_measured = Signal()
nplusone_found = Signal()
cache_renewed = Signal()
dependencies_renewed = Signal()
