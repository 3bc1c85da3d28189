"""What every endpoint does alike: who may ask, which page, and how errors and values look.

Only the way to the rows differs between an endpoint's versions; this module keeps the rest the
same, so that their JSON can be the same to the byte.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import wraps
from typing import Any, TypeVar

from django.core.paginator import Page, Paginator
from django.db.models import Count, Model, QuerySet, Window
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.http import require_safe

from accounts.models import CustomUser

PAGE_SIZE = 20
MAX_PAGE = 1_000_000

M = TypeVar("M", bound=Model)
Read = Callable[[QuerySet[Any]], QuerySet[Any]]
View = Callable[[HttpRequest], HttpResponse]


class ApiError(Exception):
    """What is wrong with a request, for the answer: a status and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def endpoint(view: View) -> Callable[..., HttpResponseBase]:
    """Make a view an endpoint that answers GET alone, an :class:`ApiError` with its JSON."""

    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        try:
            return view(request)
        except ApiError as error:
            return JsonResponse({"error": error.message}, status=error.status)

    return require_safe(answer)


def user_of(request: HttpRequest) -> CustomUser:
    """Return the logged-in user, loaded once for a request; ApiError 401 for a stranger."""
    if not isinstance(request.user, CustomUser):
        raise ApiError(401, "Log in to see this.")
    return request.user


def from_database(queryset: QuerySet[M]) -> QuerySet[M]:
    """Return the queryset as it is: the way to the rows of a version without a cache."""
    return queryset


def whole_number(request: HttpRequest, name: str, default: str = "", most: int = 2**31 - 1) -> int:
    """Return a query parameter as a number; ApiError 400 unless it is from 1 to ``most``."""
    text = request.GET.get(name, default)
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:20]) <= most):
        raise ApiError(400, f"{name} must be a whole number from 1 to {most}, not {text!r}.")
    return int(text)


def page_number(request: HttpRequest) -> int:
    """Return the page that is asked for, 1 without a parameter; ApiError 400 for no number."""
    return whole_number(request, "page", default="1", most=MAX_PAGE)


def check_page(number: int, count: int) -> None:
    """Raise ApiError 404 for a page beyond the last one of ``count`` rows."""
    last = max(1, -(-count // PAGE_SIZE))
    if number > last:
        raise ApiError(404, f"There is no page {number}: the last one is {last}.")


def paginate(request: HttpRequest, queryset: QuerySet[M]) -> tuple[Page[M], int]:
    """Return the page of the request and the number of all rows, with two queries."""
    number = page_number(request)
    paginator = Paginator(queryset, PAGE_SIZE)
    check_page(number, paginator.count)
    return paginator.page(number), paginator.count


def page_of(request: HttpRequest, queryset: QuerySet[M]) -> QuerySet[M]:
    """Return the slice of the request's page, unchecked, without a query."""
    start = (page_number(request) - 1) * PAGE_SIZE
    return queryset[start : start + PAGE_SIZE]


def paginate_at_once(request: HttpRequest, queryset: QuerySet[M]) -> tuple[Sequence[M], int]:
    """Return what :func:`paginate` does with one query: each row carries the number of all.

    Only a page without rows, which has none to carry the number, takes a second query.
    """
    rows: list[Any] = list(page_of(request, queryset.annotate(row_total=Window(Count("*")))))
    if rows:
        return rows, rows[0].row_total
    count = queryset.count()
    check_page(page_number(request), count)
    return rows, count


def page_response(
    request: HttpRequest, results: list[dict[str, Any]], count: int, **more: Any
) -> JsonResponse:
    """Return a page of results with its place among all of them, and ``more`` before them."""
    return JsonResponse({"count": count, "page": page_number(request), **more, "results": results})


def money(amount: Decimal | None) -> str:
    """Return an amount with two digits, ``0.00`` for the sum of nothing."""
    return f"{amount or 0:.2f}"


def stars(average: float | None) -> float | None:
    """Return a mean rating with at most two digits, None for no rating."""
    return None if average is None else round(float(average), 2)
