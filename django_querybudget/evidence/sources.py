"""The queryset that a query came from, and who asked it: :class:`Source`."""

from __future__ import annotations

from inspect import unwrap
from types import FrameType, FunctionType
from typing import TYPE_CHECKING, Any
from weakref import ref

from django.db.models import Model, QuerySet
from django.db.models.query import MAX_GET_RESULTS, prefetch_related_objects
from django.forms.models import ModelChoiceIterator
from django.template.base import Node
from django.template.defaulttags import ForNode
from django.template.library import InclusionNode, SimpleNode

from django_querybudget.stacks import is_library, is_project

from .instances import attributes_of

if TYPE_CHECKING:
    from django_querybudget.recording.raw import RawRecord

__all__ = ["CHUNK_SIZE", "MOST_FRAMES_TO_ITERABLE", "Source"]

_ITERATOR = QuerySet._iterator.__code__  # type: ignore[attr-defined]  # no stub has it
_CHOICES = ModelChoiceIterator.__iter__.__code__
_FOR = ForNode.render.__code__
_RENDER = Node.render_annotated.__code__
_INCLUSION = InclusionNode.render.__code__
_PREFETCH = prefetch_related_objects.__code__
# What is suggested where iterator() is given none: Django's own without a prefetch.
CHUNK_SIZE = 2000
# From the recorder to the iterable: Django's wrappers, a debug or a tracing wrapper.
MOST_FRAMES_TO_ITERABLE = 12
_MOST_FRAMES_TO_PREFETCH = 8
# From the iterable to the tag in whose template it is: some {% if %}, {% with %} and blocks.
_MOST_FRAMES_TO_TAG = 30


class Source:
    """The queryset that a text's first query came from, held weakly: its rows are the host's."""

    owner: type[Model] | None = None
    prefetch_to: str | None = None
    parent_query: Any = None
    has_own_place: bool = False
    """Whether it is a prefetch's whose queryset the project wrote: ``Prefetch(queryset=...)``."""
    lookups: tuple[Any, ...] = ()
    """What it prefetches."""
    chunk_size: int | None = None
    """How many rows ``iterator()`` takes at a time, if that evaluates it."""
    lacks_chunk_size = False
    """Whether ``iterator()`` evaluates it without one, and Django then refuses to prefetch."""
    rows: int | None = None
    """How many rows it had; None if it was gone before anybody asked."""
    is_of_package = False
    """Whether a queryset of an installed package asks by it for its own rows, in another way."""
    is_choices = False
    """Whether a form's field offers its rows as choices."""
    given_by: tuple[type, str] | None = None
    """The class and the name of the method that a template's loop called for it."""
    given_by_tag: tuple[FunctionType, str] | None = None
    """The function of an inclusion tag whose template asks, and the name that its loop iterates."""

    named_in: tuple[list[Any], str] | None = None
    """The templates that have it by a name, and the name."""

    def __init__(self, record: RawRecord, queryset: Any, iterable: FrameType) -> None:
        self.record = record
        self.queryset = ref(queryset)
        self.query = queryset.query
        self.model: type[Model] = queryset.model  # A RawQuery has none.
        if queryset._prefetch_related_lookups:
            self.lookups = queryset._prefetch_related_lookups
        self._look_at_who_asks(iterable.f_back, queryset)
        caller = iterable.f_back
        if caller is not None and caller.f_code is _ITERATOR:
            given = caller.f_locals.get("chunk_size")
            self.lacks_chunk_size = given is None
            self.chunk_size = given or CHUNK_SIZE
        if queryset._hints:
            instance = queryset._hints.get("instance")
            if instance is not None:
                self.owner = type(instance)
                self._look_for_prefetch(iterable.f_back)

    def assigned_by_tag(self) -> FunctionType | None:
        """Return the function of the tag that gave it to a template: ``{% newest as books %}``."""
        templates, name = self.named_in or ([], "")
        found = {
            unwrap(node.func)
            for each in templates
            for node in each.nodelist.get_nodes_by_type(SimpleNode)
            if node.target_var == name
        }
        function: Any = found.pop() if len(found) == 1 else None
        return function if isinstance(function, FunctionType) else None

    @property
    def is_list(self) -> bool:
        """Whether it may have any number of rows: no ``get()``, no ``first()``, no prefetch."""
        limit = getattr(self.query, "high_mark", None)
        return self.prefetch_to is None and limit not in (1, MAX_GET_RESULTS)

    def count_rows(self) -> bool:
        """Note how many rows it has; whether there is nothing more to be known of it."""
        queryset = self.queryset()
        found = None if queryset is None else queryset._result_cache
        if found is not None:
            self.rows = len(found)
        return queryset is None or found is not None

    @property
    def is_refresh(self) -> bool:
        """Whether it loads deferred fields: its instance is made, read and dropped."""
        names, deferred = getattr(self.query, "deferred_loading", (frozenset(), True))
        return self.owner is self.model and bool(names) and not deferred

    def _look_at_who_asks(self, frame: FrameType | None, queryset: Any) -> None:
        """Note whether a form's choices ask, or a package's queryset for rows of its own.

        django-polymorphic asks so for the rows of each class: the project has never seen that one.
        """
        iterated: list[str] = []
        names_are_known = False
        for _ in range(_MOST_FRAMES_TO_TAG):
            if frame is None or is_project(frame.f_code):
                return
            if frame.f_code is _CHOICES:
                self.is_choices = True
            elif frame.f_code is _FOR and not iterated:
                iterated = _names_iterated(frame)
                self.given_by = _method_called(frame, iterated)
            elif frame.f_code is _RENDER and not names_are_known:
                # Of the innermost node: those around it have the same context.
                self.named_in, names_are_known = _named_in(frame, queryset), True
            elif frame.f_code is _INCLUSION:
                function: Any = unwrap(frame.f_locals["self"].func)
                if isinstance(function, FunctionType) and len(iterated) == 1:
                    self.given_by_tag = function, iterated[0]
                return
            elif is_library(frame.f_code):
                asking = frame.f_locals.get("self")
                self.is_of_package = issubclass(type(asking), QuerySet) and asking is not queryset
                return
            frame = frame.f_back

    def _look_for_prefetch(self, frame: FrameType | None) -> None:
        for _ in range(_MOST_FRAMES_TO_PREFETCH):
            if frame is None:
                return
            if frame.f_code is _PREFETCH:
                names = frame.f_locals
                self.prefetch_to = names.get("prefetch_to")
                lookup = names.get("lookup")
                self.has_own_place = (
                    getattr(lookup, "queryset", None) is not None
                    and getattr(lookup, "prefetch_to", None) == self.prefetch_to
                )
                caller = frame.f_back
                parent = caller.f_locals.get("self") if caller is not None else None
                self.parent_query = getattr(parent, "query", None)
                return
            frame = frame.f_back


def _names_iterated(for_loop: FrameType) -> list[str]:
    """Return the parts of ``thing.method`` of ``{% for row in thing.method %}``."""
    sequence = for_loop.f_locals["self"].sequence
    return list(getattr(getattr(sequence, "var", None), "lookups", None) or ())


def _named_in(node: FrameType, queryset: Any) -> tuple[list[Any], str] | None:
    """Return the templates that are rendered, if a name of theirs is ``queryset``."""
    context = node.f_locals["context"]
    for each in reversed(attributes_of(context).get("dicts", ())):
        for name, value in each.items() if isinstance(each, dict) else ():
            if value is queryset:
                rendered = [context.template, context.render_context.template]
                return [template for template in rendered if template is not None], name
    return None


def _method_called(for_loop: FrameType, lookups: list[str]) -> tuple[type, str] | None:
    """Return what the loop reads of an object, if a name of the context has it."""
    names = for_loop.f_locals
    if len(lookups) != 2:
        return None
    for each in reversed(attributes_of(names["context"]).get("dicts", ())):
        if isinstance(each, dict) and lookups[0] in each:
            return type(each[lookups[0]]), lookups[1]
    return None
