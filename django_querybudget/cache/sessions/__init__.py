"""What a connection's session decides about an answer: the same SQL is not the same question.

A search path, a role, a session variable, MySQL's ``USE``: each changes what a query reads and
stands in no SQL of it. So the session's state, spelled as text, is part of each entry's key. It is
known from three sides:

- the connection's settings: its user and its options;
- what multi-tenant backends write on the connection object (``schema_name``), and what the
  project's own callable tells (``QUERYBUDGET["CACHE"]["SESSION"]``);
- the statements that the hook sees (:mod:`.changes`).

Where it cannot be known for certain, nothing is read through the cache: :func:`text_of` raises
:class:`Unknown`, whose message is the reason in the statistics.

Tags are without it. A table that several tenants share is reached through each one's search path,
so a write in one session may be read in another: too much is renewed, never too little.
"""

from __future__ import annotations

from .following import follow, on_schema_change, watch_functions
from .session import Unknown, start
from .text import everywhere, is_default, text_of, variables_of, writes_elsewhere

__all__ = [
    "Unknown",
    "everywhere",
    "follow",
    "is_default",
    "on_schema_change",
    "start",
    "text_of",
    "variables_of",
    "watch_functions",
    "writes_elsewhere",
]
