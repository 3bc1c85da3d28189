"""System checks whose hints end in a link: :func:`registered`, in place of ``register``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar

from django.core.checks import CheckMessage, register

from .links import check_link, see

__all__ = ["registered"]

C = TypeVar("C", bound=Callable[..., Iterable[CheckMessage]])


def registered(*tags: str, deploy: bool = False) -> Callable[[C], C]:
    """Register a check with Django, and return it as it is.

    What Django is told has the link of its id at the end of the hint.
    """

    def decorate(check: C) -> C:
        @wraps(check)
        def linked(*args: Any, **kwargs: Any) -> list[CheckMessage]:
            return [_linked(message) for message in check(*args, **kwargs)]

        register(linked, *tags, deploy=deploy)
        return check

    return decorate


def _linked(message: CheckMessage) -> CheckMessage:
    if message.id:
        message.hint = f"{message.hint or ''} {see(check_link(message.id))}".strip()
    return message
