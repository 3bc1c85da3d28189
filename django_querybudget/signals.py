"""The seam other apps listen on.

``queries_measured``
    Sent when a measured scope is over and its number of queries is final: for a view, when its
    response is done (a stream's, when the stream ended or was closed). ``sender`` is the class
    that measured, ``report`` a :class:`~django_querybudget.reports.QueryReport`, ``request`` and
    ``response`` the request and its response. A receiver's exception is logged, not raised.
"""

from __future__ import annotations

from django.dispatch import Signal

queries_measured = Signal()
