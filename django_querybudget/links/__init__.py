"""Where the documentation says more of a message: one short link at the end of each.

A page of ``docs/reference`` and an anchor in it. All links are made here, and what they begin with
is said once.
"""

from __future__ import annotations

__all__ = ["DOCS", "check_link", "message_link", "see"]

DOCS = "docs/"
"""What every link begins with: the documentation's folder. Where the documentation has an address,
this is it."""


def message_link(kind: str) -> str:
    """Return the link of a kind of message, ``"budget-exceeded"``."""
    return f"{DOCS}reference/messages.rst#{kind}"


def check_link(check: str) -> str:
    """Return the link of a system check, ``"querybudget.W010"``."""
    return f"{DOCS}reference/checks.rst#{check.lower().replace('.', '-')}"


def see(link: str) -> str:
    """Return the last line of a message."""
    return f"See {link}"
