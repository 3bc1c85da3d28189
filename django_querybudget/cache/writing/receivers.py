"""Receivers of Django's signals: writes that the hook does not see, and that somebody announces.

Why Django's own signals cost next to nothing
    The hook has seen every statement of :meth:`~django.db.models.Model.save`. That a signal is
    sent from there is read off the stack: the caller of ``Signal.send()`` is a function of
    Django's, and the model has none of its own between it and the database.

Why only ``post_save`` is listened to for all senders
    A receiver of ``post_delete`` turns Django's fast deletes off, and one of ``m2m_changed`` makes
    ``add()`` ask which rows are there already. So both are connected for those senders alone that
    the settings name. A receiver of ``post_save`` changes nothing that Django sends.
"""

from __future__ import annotations

import logging
import sys
from typing import Any
from weakref import WeakKeyDictionary

from django.core.signals import setting_changed
from django.db import connections, models
from django.db.models import base, deletion, signals
from django.db.models.fields import related_descriptors
from django.dispatch import Signal

from django_querybudget.cache import tags
from django_querybudget.cache.lazy import unwrapped
from django_querybudget.cache.tables import tables, whole_table
from django_querybudget.conf import conf

from .instances import row_tags, with_parents
from .invalidation import invalidate_all, renew

__all__ = ["listen"]

logger = logging.getLogger("django_querybudget")

_UID = "django_querybudget.cache"
_SENDING = (Signal.send.__code__, Signal.send_robust.__code__)
_SENDERS = {
    signals.post_save: vars(base),
    signals.post_delete: vars(deletion),
    signals.m2m_changed: vars(related_descriptors),
}
_BETWEEN = 4
"""How many wrappers of a receiver are looked through: those of tracing tools."""

_plain: WeakKeyDictionary[type, bool] = WeakKeyDictionary()


def listen() -> None:
    """Connect the receivers. Once is enough, twice is harmless."""
    signals.post_save.connect(_written, dispatch_uid=_UID, weak=False)
    setting_changed.connect(_on_setting, dispatch_uid=_UID, weak=False)
    _connect_named()


def _written(signal: Any, sender: Any, **named: Any) -> None:
    """A row was written, by Django or by whoever says so."""
    if not _was_seen(signal, sender):
        _renew(sender, **named)


def _related(signal: Any, sender: Any, **named: Any) -> None:
    """Rows of a many-to-many relation were written; ``sender`` is the model of its table."""
    if not str(named.get("action")).startswith("pre_") and not _was_seen(signal, sender):
        _renew(sender, relation=sender._meta.db_table, **named)


def _renew(
    sender: Any, instance: Any = None, using: Any = None, relation: str | None = None, **_: Any
) -> None:
    try:
        instance = unwrapped(instance)
        if not isinstance(instance, models.Model):
            return  # somebody's own use of the signal
        using = using or instance._state.db
        for alias in [using] if using is not None else list(connections):
            found = row_tags(instance, alias)
            if relation is not None:
                table = tables().tables.get(relation)
                found |= whole_table(tags.database_name(alias), table)
            renew(alias, found)
    except Exception:
        # It may be of a save() of the host's, which goes on.
        logger.exception("A signal of %r could not be read: everything is renewed.", sender)
        invalidate_all()


def _was_seen(signal: Any, sender: Any) -> bool:
    """Whether Django itself sends the signal, after statements that the hook has seen."""
    frame: Any = sys._getframe(2)
    for _ in range(_BETWEEN):
        if frame.f_code in _SENDING:
            return frame.f_back.f_globals is _SENDERS[signal] and _is_djangos_to_write(sender)
        frame = frame.f_back
        if frame is None:
            return False
    return False


def _is_djangos_to_write(model: Any) -> bool:
    """Whether nothing of the model's own stands between Django's writes and the database."""
    known = _plain.get(model)
    if known is None:
        known = _plain[model] = all(map(_has_djangos_own, with_parents(model)))
    return known


_OWN = ("_save_parents", "_save_table", "_do_update", "_do_insert")


def _has_djangos_own(model: type[models.Model]) -> bool:
    try:
        managers = {model._base_manager, model._default_manager}
        querysets = [type(manager.get_queryset()) for manager in managers]
    except Exception:  # a manager of the host's own may raise anything
        return False
    return all(
        getattr(model, name, None) is getattr(models.Model, name, None) for name in _OWN
    ) and all(
        getattr(kind, name) is getattr(models.QuerySet, name)
        for kind in querysets
        for name in ("_update", "_insert", "bulk_create", "delete")
    )


# What the settings name

_named: set[tuple[Any, Any, str]] = set()


def _connect_named() -> None:
    wanted = {(signals.post_delete, _written, label) for label in conf.CACHE.DELETE_SIGNALS}
    wanted |= {(signals.m2m_changed, _related, label) for label in conf.CACHE.M2M_SIGNALS}
    for signal, receiver, label in _named - wanted:
        signal.disconnect(receiver, sender=label, dispatch_uid=_UID)
        _named.discard((signal, receiver, label))
    for signal, receiver, label in wanted - _named:
        try:
            signal.connect(receiver, sender=label, dispatch_uid=_UID, weak=False)
        except ValueError as error:
            # The check says so too, but a server that serves requests runs no checks.
            logger.error("No signal of %r is listened to: %s", label, error)
        else:
            _named.add((signal, receiver, label))


def _on_setting(setting: str, **_: object) -> None:
    if setting == "QUERYBUDGET":
        _connect_named()
