"""The line to write: :class:`Draft` collects what the loops of one queryset need, as code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django_querybudget.evidence.sources import CHUNK_SIZE

from .databases import can_be_joined
from .eager_loading import Lookups
from .needs import Need, Part
from .places import Place
from .roots import Root
from .starts import loaded_fields, start_of

__all__ = ["Draft"]


@dataclass
class Draft:
    """A queryset's line, while it is being put together."""

    root: Root
    place: Place
    annotated: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    saves: int = 0
    eager: Lookups = field(init=False)

    def __post_init__(self) -> None:
        self.eager = Lookups(self.root.lookups)

    @property
    def query(self) -> Any:
        """The queryset's own query; None where it is not known."""
        return None if self.root.source is None else self.root.source.query

    @property
    def taken(self) -> set[str]:
        """The names that the queryset has given to values of its own."""
        return self.eager.attributes | set(getattr(self.query, "annotations", ()))

    @property
    def can_join(self) -> bool:
        """Whether the queryset is Django's, and locks no rows: it would lock those it joins."""
        return not self.root.is_raw and not getattr(self.query, "select_for_update", False)

    def reaches(self, need: Need) -> bool:
        """Whether the queryset's own database has all that ``need`` leads to: else no join does."""
        if self.root.source is None:
            return True
        models = [*(step.owner for step in need.whole), need.load.model]
        return can_be_joined(self.root.source.record.alias, need.alias, models)

    def prefetch(self, need: Need, use: str | None = None) -> Part | None:
        """Ask for a prefetch; None if it costs as many queries as it saves.

        It does where the queryset itself is evaluated in a loop.
        """
        # One query for each model that a generic foreign key leads to.
        free = self.eager.has(need.whole) and not need.whole[-1].generic
        cost = 0 if free else self.root.prefetch_cost(need.count)
        if cost >= need.count:
            return None
        self.eager.prefetch(need.whole)
        return Part(saves=need.count - cost, use=use)

    def code(self, manager: str | None) -> str | None:
        """Return the expression; None if it would change nothing.

        ``manager`` is what the queryset starts from, where its source is known.
        """
        chain = self.chain()
        return f"{start_of(self.root, manager)}{chain}" if chain else None

    def chain(self) -> str:
        """Return the calls to write after the start of the queryset; nothing if there are none."""
        code = self.eager.code()
        if self.annotated:
            code += f".annotate({', '.join(self.annotated)})"
        if self.fields:
            code += loaded_fields(self.root, self.fields)
        source = self.root.source
        if source is not None and source.lacks_chunk_size and self.eager.prefetches:
            code += f"  # and .iterator(chunk_size={CHUNK_SIZE}): it prefetches chunk by chunk"
        return code

    def only_joins(self) -> list[str] | None:
        """Return the names to join; None if more than ``select_related()`` is needed."""
        if self.annotated or self.fields or self.eager.prefetches:
            return None
        return self.eager.joined()
