"""System checks of ``QUERYBUDGET["BUDGETS"]``: names that match no view, values that are none.

===================  =====================================================
``querybudget.E011``  A value in ``BUDGETS`` is no budget.
``querybudget.W010``  A name in ``BUDGETS`` matches no view, no method and no command.
``querybudget.W013``  A budget limits ``rows`` where the driver does not tell how many came.
``querybudget.W014``  A budget that was raised until a day has expired.
===================  =====================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from django.core.checks import CheckMessage, Error, Warning
from django.core.management import get_commands
from django.db import connections

from django_querybudget.conf import InvalidSetting, conf
from django_querybudget.recording.raw import TELLING_VENDORS
from django_querybudget.routing.decorated import decorated
from django_querybudget.routing.names import ViewKey, names_of_views, unmatched

from .budget import Budget
from .by_view import MARK, parse_budgets
from .dead_decorators import place_of

__all__ = ["check_budgets", "check_expired_budgets", "check_rows_budgets"]

_NO_DATABASE = "unknown"

# HTTP's (RFC 9110, PATCH, QUERY) and WebDAV's (RFC 4918, 3253): a view may answer any of them.
_HTTP = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "QUERY"}
_WEBDAV = {"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT"}
_METHODS = _HTTP | _WEBDAV

_DEFAULT = 'The budget of every view that has no other is "*".'


def check_budgets(**_: object) -> list[CheckMessage]:
    """Report budgets of ``BUDGETS`` that are none, and names that no URL has."""
    messages: list[CheckMessage] = []
    written = conf.BUDGETS
    names = names_of_views() if written else []
    for text, value in written.items():
        try:
            list(parse_budgets({text: value}))
        except InvalidSetting as error:
            message = f"{error.name} {error.problem}."
            messages.append(Error(message, hint=error.hint, id="querybudget.E011"))
        key = ViewKey.of(text)
        if key.is_of_work:
            messages += _of_commands(text, key)
        elif key.method and key.method not in _METHODS:
            messages.append(
                Warning(
                    f'QUERYBUDGET["BUDGETS"][{text!r}] never applies: {key.method!r} is no method.',
                    hint=f"{_nearest_method(key.method)}A key is a view's name, or a method, a "
                    'blank and a name: "POST jobs:list"; or "task", "command" or "message", a '
                    "blank and its name.",
                    id="querybudget.W010",
                )
            )
        elif (hint := unmatched(key, names)) is not None:
            messages.append(
                Warning(
                    f'QUERYBUDGET["BUDGETS"][{text!r}] matches no view.',
                    hint=_DEFAULT if key.name == "default" else hint,
                    id="querybudget.W010",
                )
            )
    return messages


def _of_commands(text: str, key: ViewKey) -> Iterator[CheckMessage]:
    """Of work, only the commands have names that can be known before they run."""
    if key.method != "COMMAND" or any(key.matches("COMMAND", (each,)) for each in get_commands()):
        return
    from difflib import get_close_matches  # for a message alone

    near = get_close_matches(key.name, sorted(get_commands()), n=1)
    yield Warning(
        f'QUERYBUDGET["BUDGETS"][{text!r}] matches no command of manage.py.',
        hint=f"Did you mean {near[0]!r}?" if near else "manage.py help lists them.",
        id="querybudget.W010",
    )


def check_rows_budgets(**_: object) -> list[CheckMessage]:
    """Report budgets that limit rows on databases whose drivers do not tell how many they fetch."""
    messages: list[CheckMessage] = []
    for title, budget in _declared():
        if budget.rows is None:
            continue
        silent = [
            f"{alias!r} ({connections[alias].vendor})"
            for alias in sorted(budget.using or connections)
            if alias in connections.settings
            if connections[alias].vendor not in {*TELLING_VENDORS, _NO_DATABASE}
        ]
        if silent:
            messages.append(
                Warning(
                    f"{title} limits rows, which is not judged on {', '.join(silent)}: the driver "
                    "does not tell how many rows it fetches.",
                    hint="PostgreSQL's and MySQL's do: name their aliases in using.",
                    id="querybudget.W013",
                )
            )
    return messages


def check_expired_budgets(**_: object) -> list[CheckMessage]:
    """Report budgets that were raised until a day that is past."""
    return [
        Warning(
            f"{title} {budget.ends}.",
            hint="Lower it to what it was before it was raised, or agree on a later day.",
            id="querybudget.W014",
        )
        for title, budget in _declared()
        if budget.ends is not None and budget.ends.days_past
    ]


def _declared() -> Iterator[tuple[str, Budget]]:
    """Yield each budget of the settings and of a decorator that can be read, and what has it."""
    for text, value in conf.BUDGETS.items():
        with suppress(InvalidSetting):  # E011 says so.
            for _, budget in parse_budgets({text: value}):
                if budget is not None:
                    yield f'QUERYBUDGET["BUDGETS"][{text!r}]', budget
    for wrapper in list(decorated):
        declared = getattr(wrapper, MARK, None)
        if declared is not None:
            place = f"{wrapper.__module__}.{wrapper.__qualname__} ({place_of(wrapper)})"
            yield f"The query_budget of {place}", declared.budget


def _nearest_method(method: str) -> str:
    from difflib import get_close_matches  # for a message alone

    near = get_close_matches(method, sorted(_METHODS), n=1)
    return f"Did you mean {near[0]!r}? " if near else ""
