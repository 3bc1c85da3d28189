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
    """``340 ms``, ``12.4 s``, ``1.5 h``."""
    if abs(number) < 1:
        return f"{number * 1000:.0f} ms"
    return f"{number:,.1f} s" if abs(number) < 3600 else f"{number / 3600:,.1f} h"
