"""Which query an instance came from: :func:`find_provenance`.

An instance does not know. What is looked at, most certain first:

1. Frames: while instances are being made, the iterable that makes them is on the stack
   (see :mod:`.reading`).
2. Relations: an instance that a name of the project's functions refers to holds this one in its
   cache of relations. Then it is that instance's way that counts.
3. Identity: the instance is among the rows of a queryset that is still alive. One that is alive
   and does not have it is ruled out.
4. Keys: an earlier query asked for this primary key, or for the rows of this foreign key; or it
   prefetches what this instance holds.
5. Elimination: one earlier query alone reads this model, with the same fields deferred.
6. Loops: of several, a ``for`` around the line that reads iterates one, and binds this instance.

What is left undecided is said to be unknown: a wrong line is worse than none.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from types import FrameType
from typing import TYPE_CHECKING, Any

from django.db.models import Model

from django_querybudget.stacks import outward

from .for_loops import iterated
from .holders import MOST_FRAMES, holders
from .hops import ways
from .instances import is_of, state_of
from .loads import Provenance, Step, place_key
from .relations import relation_of
from .scoring import BY_IDENTITY, BY_KEY, POSSIBLE, has_joined, has_same_fields, score_of

if TYPE_CHECKING:
    from django_querybudget.recording.raw import RawRecord

    from .noting import Evidence

__all__ = ["find_provenance"]

# How far back records are searched.
_MOST_RECORDS = 2000


def find_provenance(
    evidence: Evidence,
    records: Sequence[RawRecord],
    instance: Model,
    frame: FrameType | None,
) -> Provenance | None:
    """Return the query that ``instance`` came from; None if that is not certain.

    ``frame`` is where the search for names that refer to it begins.
    """
    for holder, path in holders(instance, frame):
        found = _query_of(evidence, records, holder, frame)
        if found is None:
            return None
        if not path or not _came_from(evidence, found, instance, path):
            return found._replace(path=(*found.path, *path))
    return None


def _came_from(
    evidence: Evidence, found: Provenance, instance: Model, path: tuple[Step, ...]
) -> bool:
    """Whether the holder was itself loaded by way of ``instance``, which it only refers back to.

    ``author.books`` gives books that know their author: the author is not of the books' query.
    """
    source = evidence.sources.get(found.sql)
    if source is None or found.path or source.owner is None or len(path) > 1:
        return False
    relation = relation_of(source.query, source.owner) if is_of(instance, source.owner) else None
    field = None if relation is None else getattr(relation[1], "field", None)
    return field is not None and field.name == path[0].lookup


def _query_of(
    evidence: Evidence, records: Sequence[RawRecord], instance: Model, frame: FrameType | None
) -> Provenance | None:
    best: dict[tuple[Any, ...], Provenance] = {}
    best_score = POSSIBLE
    unsure = False
    database = state_of(instance).db
    for raw in islice(reversed(records), 1, _MOST_RECORDS):
        sql, alias, origin = raw.sql, raw.alias, raw.origin
        source = evidence.sources.get(sql)
        if source is None or origin is None or alias != database or source.is_refresh:
            continue
        for root, path in ways(evidence, source, type(instance)):
            score = score_of(source, raw, instance, path if root is source else None)
            if not has_same_fields(root, path, instance):
                continue
            if root is source and not has_joined(source, path, instance):
                continue
            if len(path) and root is source and has_joined(source, (), instance, also=True):
                continue  # A row of its own, which what it joined does not hold.
            if score == POSSIBLE and root is source and source.record is not raw and not path:
                # A text that ran again, later: its rows are not known, nor ruled out.
                unsure = True
            elif score == BY_KEY and unsure:
                score = POSSIBLE
            if score < best_score:
                continue
            if score > best_score:
                best_score, best = score, {}
            origin_record = raw if root is source else root.record
            if origin_record.origin is None:
                continue
            found = Provenance(
                origin_record.sql, origin_record.origin, evidence.key_of(origin_record), path
            )
            best[*place_key(found.sql, found.origin), path] = found
        if best_score == BY_IDENTITY:
            break
    return _one_of(list(best.values()), instance, frame)


def _one_of(found: list[Provenance], instance: Model, frame: FrameType | None) -> Provenance | None:
    if len(found) > 1:
        own = [each for each in found if not each.path]
        return iterated(own, instance, islice(outward(frame), MOST_FRAMES))
    return found[0] if found else None
