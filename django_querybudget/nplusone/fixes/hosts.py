"""Where a queryset stands that a framework evaluates for a class or function of the project's.

A generic view, a viewset, a ``ModelAdmin`` or a resolver says what is queried, and no line of it is
on the stack: see :class:`~django_querybudget.stacks.Host`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import replace
from inspect import getattr_static
from typing import TYPE_CHECKING, Any

from django.db.models import Model

from django_querybudget.evidence.instances import attributes_of, is_of
from django_querybudget.evidence.relations import quoted
from django_querybudget.nplusone.findings import Fix
from django_querybudget.nplusone.source.querysets import subclasses
from django_querybudget.stacks import Host, HostKind, Origin, RawHost
from django_querybudget.stacks.source_files import source_of

from .expressions import manager_of

if TYPE_CHECKING:
    from .drafts import Draft

__all__ = ["classes_of_view", "fix_for_host", "node_of_host"]

_SUPER = ("get_queryset", "queryset")


def node_of_host(host: Host) -> ast.AST | None:
    """Return the function, or the value of the attribute, that gives the host's queryset."""
    for node in source_of(host.filename).nodes:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                if first <= host.line <= node.body[0].lineno and _is_named(node.name, host):
                    return node
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if value.lineno == host.line:
                if name == host.attribute:
                    return value
    return None


def classes_of_view(host: Host, model: type[Model] | None) -> Iterator[tuple[str, ast.ClassDef]]:
    """Yield the project's classes of a view that gives no rows of ``model`` by itself, with files.

    What a template evaluates of its context one of their methods has built. ``model`` is None for
    rows of a relation.
    """
    own = _concrete(host.model or attributes_of(host.target).get("model"))
    if host.kind is not HostKind.VIEW or not is_of(host.target, type):
        return
    if model is not None and own is _concrete(model):
        return
    for owner in host.target.__mro__:
        module = sys.modules.get(owner.__module__)
        filename = getattr(module, "__file__", None)
        if owner is object or filename is None or owner.__module__.startswith("django."):
            return
        found = [
            node
            for node in source_of(filename).nodes
            if isinstance(node, ast.ClassDef) and node.name == owner.__name__
        ]
        if len(found) == 1:
            yield filename, found[0]


def _is_named(name: str, host: Host) -> bool:
    return name in (host.attribute, getattr(host.target, "__name__", ""))


def fix_for_host(draft: Draft, host: Host) -> Fix | None:
    """Return what to write into the host's class; None where its source is to be changed itself."""
    if host.kind is HostKind.ADMIN:
        host = _inline_of(host, draft) or host
        code, where = _for_admin(draft, host)
    elif host.kind is not HostKind.VIEW or not _is_of_view(draft, host):
        return None
    elif host.attribute == "" and _given(host.target, "get_queryset") is None:
        return None  # It asks no class for its rows: a template's context has them.
    elif host.attribute in ("", "model"):
        code, where = f"queryset = {manager_of(draft.root.model)}{draft.chain()}", "in the class at"
        host = _with_own_rows(host)
    elif _calls_up(host):
        code, where = f"super().get_queryset(){draft.chain()}", "at"
    else:
        return None
    if code is None:
        return None
    place = Origin(filename=host.filename, line=host.line, function=host.label, host=host)
    replaces = draft.eager.replaced
    return Fix(
        code=code, place=place, built=True, saves=draft.saves, replaces=replaces, where=where
    )


def _with_own_rows(host: Host) -> Host:
    """Return ``host``, or its own class where a ``queryset`` of the base would be for others, too.

    A subclass that has another ``model`` would be given rows of this one.
    """
    target = host.target
    owner = next((each for each in target.__mro__ if host.attribute in vars(each)), target)
    others = (vars(each) for each in subclasses(owner) if each is not target)
    filename = str(attributes_of(sys.modules.get(target.__module__)).get("__file__") or "")
    if owner is target or not any("model" in each for each in others) or not filename:
        return host
    found = [
        node.lineno
        for node in source_of(filename).nodes
        if isinstance(node, ast.ClassDef) and node.name == target.__name__
    ]
    if len(found) != 1:
        return host
    return replace(host, filename=filename, line=found[0], label=target.__name__)


def _is_of_view(draft: Draft, host: Host) -> bool:
    """Whether the rows are the view's own: it may ask for others, a filter's choices say."""
    given = _given(host.target, "queryset")
    model = _concrete(host.model or attributes_of(given).get("model"))
    if model is None:
        return host.attribute == ""
    return model is _concrete(draft.root.model)


def _given(owner: type, name: str) -> Any:
    return getattr_static(owner, name, None)


def _inline_of(host: Host, draft: Draft) -> Host | None:
    """Return the one inline of a ``ModelAdmin`` whose rows the queryset's are."""
    source, wanted = draft.root.source, _concrete(draft.root.model)
    if (source is not None and source.is_choices) or _concrete(host.model) is wanted:
        return None
    given = _given(host.target, "inlines")
    found = [
        each
        for each in (given if is_of(given, (list, tuple)) else ())
        if is_of(each, type) and _concrete(_given(each, "model")) is wanted
    ]
    if len(found) != 1:
        return None
    return Host.of(RawHost(HostKind.ADMIN, found[0], _given(found[0], "model")))


def _for_admin(draft: Draft, host: Host) -> tuple[str | None, str]:
    source, model = draft.root.source, _concrete(host.model)
    if source is not None and source.is_choices:
        return _for_choices(draft, model), "in the class at"
    if model is not _concrete(draft.root.model):
        return None, ""
    if host.attribute:
        code = f"super().get_queryset(request){draft.chain()}" if _calls_up(host) else None
        return code, "at"
    selected = draft.only_joins()
    # Of an inline there is no list.
    if selected is None or _given(host.target, "list_select_related") is None:
        body = f"return super().get_queryset(request){draft.chain()}"
        return f"def get_queryset(self, request):\n    {body}", "in the class at"
    names = dict.fromkeys([*_joined_already(draft, host), *selected])
    listed = ", ".join(map(quoted, names))
    return f"list_select_related = ({listed}{',' if len(names) == 1 else ''})", "in the class at"


def _calls_up(host: Host) -> bool:
    """Whether the host's ``get_queryset()`` starts from that of its base."""
    node = node_of_host(host) if host.attribute == "get_queryset" else None
    return node is not None and any(
        isinstance(each, ast.Attribute) and each.attr in _SUPER and _is_super(each.value)
        for each in ast.walk(node)
    )


def _is_super(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
    )


def _joined_already(draft: Draft, host: Host) -> list[str]:
    """Return what the changelist joins as it is: a tuple of names takes the place of that."""
    query = None if draft.root.source is None else draft.root.source.query
    joined: Any = getattr(query, "select_related", False)
    if isinstance(joined, dict):
        return list(_paths(joined))
    listed = _given(host.target, "list_display") if joined else ()
    fields = {each.name: each for each in draft.root.model._meta.fields if each.many_to_one}
    return [name for name in listed if name in fields]


def _paths(joined: dict[str, Any], before: str = "") -> list[str]:
    found: list[str] = []
    for name, deeper in joined.items():
        found += _paths(deeper, f"{before}{name}__") if deeper else [f"{before}{name}"]
    return found


def _for_choices(draft: Draft, model: type[Model] | None) -> str | None:
    """Return what makes a form ask for a key, not for a choice of all rows."""
    if model is None:
        return None
    wanted = _concrete(draft.root.model)
    names = [
        each.name
        for each in (*model._meta.fields, *model._meta.many_to_many)
        if each.is_relation and _concrete(each.related_model) is wanted
    ]
    if len(names) != 1:
        return None
    return f"raw_id_fields = ({quoted(names[0])},)  # or autocomplete_fields"


def _concrete(model: Any) -> type[Model] | None:
    if not is_of(model, type) or not issubclass(model, Model):
        return None
    concrete: type[Model] = model._meta.concrete_model or model
    return concrete
