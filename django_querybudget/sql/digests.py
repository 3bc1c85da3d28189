"""A digest of a statement, equal for what Django sends and for what PostgreSQL keeps of it.

``pg_stat_statements`` keeps a statement with each constant replaced by ``$1``, ``$2``, …; Django
sends it with placeholders, or psycopg with the values. All three have one digest here.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from hashlib import blake2b

from .fingerprints import fingerprint
from .memory import Memo

__all__ = ["LENGTH", "statement_digest"]

LENGTH = 8
"""Of a digest, in characters: 48 bits tell some thousand statements apart."""
_BEGINNING = 800
"""So much of a statement counts, in characters: of long ones only the beginning may be known."""

# A cursor of the server's is declared for the statement that Django was given.
_CURSOR = re.compile(r"DECLARE .*? CURSOR (?:WITH(?:OUT)? HOLD )?FOR ", re.IGNORECASE)
# psycopg writes the type behind a value that it puts into the text.
_CAST = re.compile(
    r"\?::[\w.]+(?: with(?:out)? time zone| precision| varying)?(?:\(\?(?:, ?\?)*\))?(?:\[\])*",
    re.I,
)
_CONSTANT = re.compile(r"\b(?<!IS )(?<!IS NOT )(?:NULL|TRUE|FALSE)\b", re.IGNORECASE)
_NEGATIVE = re.compile(r"(?<=[(,=<>*/+]) ?- ?\?")
_SPACE = re.compile(r" ?([^\w ]) ?")
_LIST = re.compile(r"\?(?:,\?)+")


def statement_digest(sql: str) -> str:
    """Return the digest of a statement, as it is sent or as ``pg_stat_statements`` has it."""
    return _digests[sql]


def _digest(sql: str) -> str:
    text = _CURSOR.sub("", fingerprint(sql), count=1).replace("%%", "%")
    text = _CONSTANT.sub("?", _NEGATIVE.sub("?", _CAST.sub("?", text)))
    text = _LIST.sub("?", _SPACE.sub(r"\1", text))[:_BEGINNING]
    digest = blake2b(text.encode("utf-8", "replace"), digest_size=LENGTH * 6 // 8).digest()
    return urlsafe_b64encode(digest).decode("ascii")


_digests = Memo(_digest)
