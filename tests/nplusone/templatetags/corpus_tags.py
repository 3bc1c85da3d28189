"""A simple tag and an inclusion tag, each of which reads a relation."""

from __future__ import annotations

from typing import Any

from django import template

register = template.Library()


@register.simple_tag
def author_of(book: Any) -> str:
    return str(book.author.name)  # N+1: tag


@register.inclusion_tag("corpus/_card.html")
def card(book: Any) -> dict[str, Any]:
    return {"book": book}
