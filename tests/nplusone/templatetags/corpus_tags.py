"""A simple tag, and inclusion tags, that read a relation or let their templates do so."""

from __future__ import annotations

from typing import Any

from django import template

from tests.nplusone.models import Book

register = template.Library()


@register.simple_tag
def author_of(book: Any) -> str:
    return str(book.author.name)  # N+1: tag


@register.inclusion_tag("corpus/books.html", takes_context=True)
def newest(context: Any, number: int) -> dict[str, Any]:
    """What a template of its own iterates, below a block: nothing of it is evaluated here."""
    books = Book.objects.order_by("-pk")  # root: newest_of_a_tag
    return {"books": context["run"](books)[:number], "others": Book.objects.filter(status="old")}


@register.simple_tag(takes_context=True)
def in_order(context: Any) -> Any:
    """What a template iterates by the name that it gives to it."""
    books = Book.objects.order_by("pk")  # root: in_order_of_a_tag
    return context["run"](books)


@register.inclusion_tag("corpus/_card.html")
def card(book: Any) -> dict[str, Any]:
    return {"book": book}
