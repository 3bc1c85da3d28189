"""Whatever way a request's dicts and headers are read is noted, and answers as they would.

What a way of reading does not note is no part of a view's key: one visitor would be sent what was
made for another.
"""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.sessions.backends.cache import SessionStore
from django.http.request import HttpHeaders
from django.test import RequestFactory

from django_querybudget.cache.views.inputs import observed
from django_querybudget.cache.views.noting import NotedDict, NotedHeaders

ALL = "all"
META = {"HTTP_ACCEPT": "text/html", "HTTP_X_TENANT": "a", "CONTENT_TYPE": "text/plain", "PATH": "/"}


def matched(value: Any) -> Any:
    match value:
        case {"a": found}:
            return found
    return None


def keywords(**found: Any) -> dict[str, Any]:
    return found


def updated(it: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    found.update(it)
    return found


# What is read of {"a": 1, "b": 2}, and what has to be noted.
READS: dict[str, tuple[Callable[[Any], Any], set[str]]] = {
    "item": (lambda it: it["a"], {"a"}),
    "get": (lambda it: it.get("a"), {"a"}),
    "get of none": (lambda it: it.get("c", 3), {"c"}),
    "in": (lambda it: "a" in it, {"a"}),
    "in of none": (lambda it: "c" in it, {"c"}),
    "setdefault": (lambda it: it.setdefault("a", 5), {"a"}),
    "pop": (lambda it: it.pop("a"), {"a"}),
    "pop of none": (lambda it: it.pop("c", 3), {"c"}),
    "match": (matched, {ALL, "a"}),  # it asks for the length
    "format": ("{a}".format_map, {"a"}),
    "percent": (lambda it: "%(a)s" % it, {"a"}),  # noqa: UP031 - this way of reading is the case
    "iter": (list, {ALL}),
    "reversed": (lambda it: list(reversed(it)), {ALL}),
    "len": (len, {ALL}),
    "bool": (bool, {ALL}),
    "keys": (lambda it: list(it.keys()), {ALL}),
    "values": (lambda it: list(it.values()), {ALL}),
    "items": (lambda it: list(it.items()), {ALL}),
    "copy": (lambda it: it.copy(), {ALL}),
    "copy.copy": (lambda it: dict(copy.copy(it)), {ALL}),
    "deepcopy": (lambda it: dict(copy.deepcopy(dict(it))), {ALL}),
    "dict": (dict, {ALL}),
    "unpacked": (lambda it: {**it, "c": 3}, {ALL}),
    "keywords": (lambda it: keywords(**it), {ALL}),
    "or": (lambda it: it | {"c": 3}, {ALL}),
    "or from the right": (lambda it: {"c": 3} | it, {ALL}),
    "update of another": (updated, {ALL}),
    "equal": (lambda it: it == {"a": 1, "b": 2}, {ALL}),
    "equal from the right": (lambda it: {"a": 1, "b": 2} == it, {ALL}),  # noqa: SIM300 - this order is the case
    "not equal": (lambda it: it != {"a": 1}, {ALL}),
    "repr": (repr, {ALL}),
    "str": (str, {ALL}),
    "json": (json.dumps, {ALL}),
    "pickle": (lambda it: pickle.loads(pickle.dumps(dict(it))), {ALL}),  # noqa: S301 - of our own making
    "popitem": (lambda it: it.popitem(), {ALL}),
    "sorted": (sorted, {ALL}),
    "max": (max, {ALL}),
}


def noted(raw: dict[str, int]) -> tuple[NotedDict, set[str]]:
    seen: set[str] = set()
    return NotedDict(raw, seen.add, lambda: seen.add(ALL)), seen


@pytest.mark.parametrize("way", READS)
def test_a_dict_notes_each_way_to_read_it(way: str) -> None:
    read, expected = READS[way]
    plain = {"a": 1, "b": 2}
    raw = dict(plain)
    one, seen = noted(raw)
    assert read(one) == read(plain)
    assert seen >= expected
    if ALL not in expected:
        assert seen == expected
    assert raw == plain  # what was taken away is, of both


WRITES: dict[str, Callable[[Any], Any]] = {
    "item": lambda it: it.__setitem__("c", 3),
    "del": lambda it: it.__delitem__("a"),
    "setdefault": lambda it: it.setdefault("c", 3),
    "update": lambda it: it.update({"a": 5}, c=3),
    "ior": lambda it: it.__ior__({"c": 3}),
    "clear": lambda it: it.clear(),
}


@pytest.mark.parametrize("way", WRITES)
def test_what_is_written_is_written_to_both(way: str) -> None:
    plain, raw = {"a": 1, "b": 2}, {"a": 1, "b": 2}
    one, _ = noted(raw)
    WRITES[way](plain)
    WRITES[way](one)
    assert dict(one) == raw == plain


def test_every_method_of_a_dict_is_one_that_notes() -> None:
    of_dict = {name for name, each in vars(dict).items() if callable(each)}
    # What reads nothing of it, or is read by others of these.
    left = {
        "__new__", "__init__", "__getattribute__", "__sizeof__", "__class_getitem__", "fromkeys",
        "__lt__", "__le__", "__gt__", "__ge__",
    }  # fmt: skip
    assert of_dict - left <= vars(NotedDict).keys()
    assert not left & vars(NotedDict).keys() - {"__init__"}


HEADER_READS: dict[str, tuple[Callable[[Any], Any], set[str]]] = {
    "item": (lambda it: it["X-Tenant"], {"HTTP_X_TENANT"}),
    "item, written otherwise": (lambda it: it["x_tenant"], {"HTTP_X_TENANT"}),
    "get": (lambda it: it.get("accept"), {"HTTP_ACCEPT"}),
    "get of none": (lambda it: it.get("X-None", 3), {"HTTP_X_NONE"}),
    "in": (lambda it: "Content-Type" in it, {"CONTENT_TYPE"}),
    "in of none": (lambda it: "X-None" in it, {"HTTP_X_NONE"}),
    "iter": (list, {ALL}),
    "len": (len, {ALL}),
    "keys": (lambda it: list(it.keys()), {ALL}),
    "values": (lambda it: list(it.values()), {ALL}),
    "items": (lambda it: list(it.items()), {ALL}),
    "dict": (dict, {ALL}),
    "unpacked": (lambda it: {**it}, {ALL}),
    "equal": (lambda it: it == {"Accept": "text/html"}, {ALL}),
    "repr": (repr, {ALL}),
    "copied, then read": (lambda it: it.copy()["Accept"], {"HTTP_ACCEPT"}),
}


@pytest.mark.parametrize("way", HEADER_READS)
def test_headers_note_each_way_to_read_them(way: str) -> None:
    read, expected = HEADER_READS[way]
    seen: set[str] = set()
    headers = NotedHeaders(META, seen.add, lambda: seen.add(ALL))
    assert read(headers) == read(HttpHeaders(META))
    assert seen >= expected
    if ALL not in expected:
        assert seen == expected


VIEW = "shop.views"


def read_by(module: str, source: str, request: Any) -> None:
    """Read something of a request in code of that module."""
    exec(source, {"__name__": module, "request": request})  # noqa: S102 - the test's own


# By the module whose reads are left out or told apart: what is read, and what is noted then.
READERS: list[tuple[str, str, set[str]]] = [
    ("django.core.handlers.wsgi", "request.tenant", set()),
    ("django.contrib.sessions.middleware", "request.session.session_key", set()),
    ("django.utils.cache", "request.META.get('HTTP_IF_MATCH')", set()),
    ("django.utils.cache", "request.headers['If-Match']", set()),
    ("django.utils.cache", "'HTTP_IF_MATCH' in request.META", set()),
    ("rest_framework.negotiation", "request.META['HTTP_ACCEPT']", {"negotiated"}),
    ("django.middleware.csrf", "request.META['CSRF_COOKIE']", set()),
    ("django.middleware.csrf", "request.COOKIES['csrftoken']", set()),
    ("django.middleware.csrf", "request.COOKIES.get('csrftoken')", set()),
]


@pytest.mark.parametrize(("module", "source", "expected"), READERS)
def test_who_reads_is_told_at_each_depth(module: str, source: str, expected: set[str]) -> None:
    def noted_of(reader: str) -> set[str]:
        request: Any = RequestFactory().get("/", headers={"accept": "a/b", "if-match": "x"})
        request.META["CSRF_COOKIE"] = "token"
        request.COOKIES["csrftoken"] = "token"
        request.tenant, request.session = "a", SessionStore()
        with observed(request, ()) as inputs:
            read_by(reader, source, request)
        return inputs.read | inputs.absent | ({"negotiated"} if inputs.negotiated else set())

    assert noted_of(module) == expected
    assert noted_of(VIEW) - {"negotiated"}
