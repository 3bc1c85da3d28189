"""Filters of the page's templates: numbers with few digits, a unit, and thousands apart."""

from __future__ import annotations

from django.template import Library

__all__ = ["register"]

register = Library()


@register.filter
def count(number: float) -> str:
    """``12,345``; from a million on ``1.2 M``."""
    return f"{number / 1e6:,.1f} M" if number >= 1e6 else f"{number:,.0f}"


@register.filter
def few(number: float) -> str:
    """Few digits, that stand well below one another: ``0.25``, ``3.5``, ``42.0``, ``1,234``."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 1 or not number else f"{number:.2f}"


@register.filter
def percent(share: float) -> str:
    """``31 %``; ``< 1 %`` of what is more than nothing."""
    return (
        "<\N{NO-BREAK SPACE}1\N{NO-BREAK SPACE}%"
        if 0 < share < 0.005
        else f"{share * 100:.0f}\N{NO-BREAK SPACE}%"
    )


@register.filter
def seconds(number: float) -> str:
    """``340 ms``, ``12.4 s``, ``16.9 min``, ``1.5 h``."""
    size = abs(number)
    if size < 1:
        told = f"{size * 1000:.0f} ms"
    elif size < 300:
        told = f"{size:.1f} s"
    else:
        told = f"{size / 60:.1f} min" if size < 3600 else f"{size / 3600:,.1f} h"
    return f"\N{MINUS SIGN}{told}" if number < 0 else told
