"""What is found of requests: N+1 queries with the line to write, and why reads are bypassed."""

from __future__ import annotations

import pytest
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import override_settings
from django.urls import path

from django_querybudget.cache import cached_queryset
from django_querybudget.production.decoding import decoded
from django_querybudget.production.encoding import encoded
from django_querybudget.production.process import ProcessRecord
from django_querybudget.production.reading import read_picture
from django_querybudget.production.record import (
    LONGEST_ADVICE,
    LONGEST_NAME,
    MOST_REMARKS,
    MOST_SERIES,
    REMARK_BYTES,
    Record,
    Remark,
    Said,
    Series,
    series_key,
)
from django_querybudget.production.summary import summarised
from jobs.models import Industry, Subcategory
from tests.production.conftest import SECTION

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


def loops(request: HttpRequest) -> HttpResponse:
    return HttpResponse([each.industry.name for each in Subcategory.objects.order_by("pk")])


def bypasses(request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        for _ in range(2):
            list(cached_queryset(Industry.objects.order_by("?")))
    return HttpResponse()


urlpatterns = [path("loops/", loops, name="loops"), path("bypasses/", bypasses, name="bypasses")]


def test_a_loop_is_told_with_its_place_and_the_line_to_write(record: ProcessRecord) -> None:
    for number in range(4):
        industry = Industry.objects.create(name=f"i{number}")
        Subcategory.objects.create(name=f"s{number}", industry=industry)
    with override_settings(QUERYBUDGET={"PRODUCTION": SECTION, "NPLUSONE": "log"}):
        for _ in range(3):
            Client().get("/loops/")
    assert record.flush()
    (row,) = summarised(read_picture(3600).whole)
    assert (row.nplusone, row.requests) == (3, 3)
    (loop,) = row.loops
    assert loop.text == "load Subcategory.industry row by row"
    assert loop.place.startswith("tests/production/test_remarks.py:")
    assert loop.times == 3
    assert 'Subcategory.objects.select_related("industry")' in loop.advice
    assert loop.advice.splitlines()[0].startswith("Write, at tests/production/test_remarks.py:")


def test_without_looking_for_them_nothing_is_told(record: ProcessRecord) -> None:
    Client().get("/loops/")
    record.flush()
    assert summarised(read_picture(3600).whole)[0].loops == ()


def test_the_reasons_of_bypasses_are_told(record: ProcessRecord) -> None:
    Client().get("/bypasses/")
    record.flush()
    (row,) = summarised(read_picture(3600).whole)
    assert row.bypasses == 2
    assert sum(each.times for each in row.reasons) == 2
    assert all(each.text for each in row.reasons)


def test_what_clients_invent_is_bounded_and_survives_the_cache() -> None:
    """Reasons with a client's names, advice without end, in more series than there are."""
    record = Record()
    for number in range(2 * MOST_SERIES):
        series = record.of(series_key("view", str(number)))
        for each in range(40):
            text, place = f"cookie {number} {each} " + "x" * 500, "a/" * 300 + "views.py:1"
            record.add_remark(series, Remark("bypass", text), Said(2))
            record.add_remark(series, Remark("nplusone", text, place), Said(1, "y" * 5_000))
        series.numbers[0] = 1
    first = record.series[series_key("view", "0")]
    assert sum(said.times for _, said in first.remarked("bypass")) == 80
    assert first.remarked("bypass")[0] == (Remark("bypass", "others"), Said(70))
    assert len(first.remarked("nplusone")) == MOST_REMARKS
    held = 0
    for series in record.series.values():
        assert len(series.remarks) <= 2 * MOST_REMARKS
        for remark, said in series.remarks.items():
            assert len(remark.text) <= LONGEST_NAME
            assert remark.place.endswith("views.py:1") or not remark.place
            assert len(said.advice) <= LONGEST_ADVICE
            held += len(remark.text) + len(remark.place) + len(said.advice)
    assert 20_000 < held < REMARK_BYTES
    again = decoded(encoded({"": record}))[""]
    assert _remarks(again) == _remarks(record)
    again.merge(record)
    assert again.series[series_key("view", "0")].remarked("bypass")[0][1].times == 140


def _remarks(record: Record) -> dict[str, dict[Remark, Said]]:
    return {key.name: series.remarks for key, series in record.series.items()}


def test_half_a_line_to_write_is_none() -> None:
    record = Record()
    series: Series = record.of(series_key("view", "a"))
    record.add_remark(series, Remark("nplusone", "a"), Said(1, "x" * (LONGEST_ADVICE + 1)))
    assert series.remarks[Remark("nplusone", "a")] == Said(1, "")
    record.add_remark(series, Remark("nplusone", "a"), Said(1, "x" * LONGEST_ADVICE))
    assert series.remarks[Remark("nplusone", "a")] == Said(2, "x" * LONGEST_ADVICE)
