"""The payments' endpoint reading through the cache: no query at all when it is warm."""

from django.http import HttpRequest, HttpResponse

from django_querybudget.cache import cached_queryset
from marketplace.api import endpoint
from payment import views_optimised


@endpoint
def payments(request: HttpRequest) -> HttpResponse:
    """List what the user has paid and received, the newest first, with both totals."""
    return views_optimised.list_payments(request, cached_queryset)
