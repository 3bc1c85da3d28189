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
"""

from __future__ import annotations

from django.dispatch import Signal

queries_measured = Signal()
nplusone_found = Signal()
