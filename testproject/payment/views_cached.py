"""The payments' endpoint, whose whole answer is kept: no query at all when it is warm."""

from django.http import HttpRequest, HttpResponse

from django_querybudget.cache import cached_view
from marketplace.api import endpoint, from_database
from payment import views_optimised


@cached_view(600)
@endpoint
def payments(request: HttpRequest) -> HttpResponse:
    """List what the user has paid and received, the newest first, with both totals."""
    return views_optimised.list_payments(request, from_database)
