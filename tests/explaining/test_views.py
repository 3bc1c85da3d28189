"""Which view is meant."""

from __future__ import annotations

import pytest

from django_querybudget.explaining.views import UnknownView, views_of

pytestmark = pytest.mark.urls("tests.explaining.views")

HERE = "tests.explaining.views"


@pytest.mark.parametrize(
    ("text", "method", "name"),
    [
        ("jobs:names", "", "jobs:names"),
        ("GET jobs:names", "GET", "jobs:names"),
        ("/jobs/names/", "", "jobs:names"),
        (f"{HERE}.names", "", "jobs:names"),
        (f"{HERE}.Industries", "", "jobs:industries"),
        (f"POST {HERE}.Industries", "POST", "jobs:industries"),
        ("/plain/<int:pk>/", "", "/plain/<int:pk>/"),
        (f"{HERE}.plain", "", "/plain/<int:pk>/"),
        (f"{HERE}.kept", "", "kept"),
    ],
)
def test_a_view_by_its_name_route_and_code(text: str, method: str, name: str) -> None:
    asked = views_of(text)
    assert (asked.method, [each.name for each in asked.views]) == (method, [name])
    assert not asked.listed


def test_what_is_known_of_its_code() -> None:
    (view,) = views_of("jobs:industries").views
    (function,) = view.functions
    assert function.name == f"{HERE}.Industries"
    assert function.file == "tests/explaining/views.py"
    assert function.line is not None
    assert view.methods == ("GET", "POST")
    (rest,) = views_of(f"{HERE}.plain").views
    assert [each.name for each in rest.functions] == [f"{HERE}.plain"]
    assert sorted(rest.methods) == ["GET", "PUT"]


@pytest.mark.parametrize("text", ["jobs:*", "/jobs/*", "GET jobs:*"])
def test_a_start_lists_those_that_match(text: str) -> None:
    asked = views_of(text)
    assert asked.listed
    assert [each.name for each in asked.views] == ["jobs:names", "jobs:two", "jobs:industries"]


@pytest.mark.parametrize("text", ["jobs:nams", "/job/names/", f"{HERE}.nams", "", "nothing:*"])
def test_of_an_unknown_view_the_nearest_are_named(text: str) -> None:
    with pytest.raises(UnknownView) as error:
        views_of(text)
    assert str(error.value).startswith(f"No view is called {text!r}. ")
    assert ("names" in str(error.value)) is ("nams" in text or "names" in text)
    assert "jobs:* lists" in str(error.value)


@pytest.mark.urls("tests.explaining")  # a URLconf without patterns is none
def test_a_broken_urlconf_is_djangos_to_tell() -> None:
    from django.core.exceptions import ImproperlyConfigured

    with pytest.raises(ImproperlyConfigured):
        views_of("jobs:names")
