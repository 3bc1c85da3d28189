"""The reviews' endpoint, whose whole answer is kept: no query at all when it is warm."""

from django.http import HttpRequest, HttpResponse

from django_querybudget.cache import cached_view
from marketplace.api import endpoint, from_database
from rating import views_optimised


@cached_view(600, vary_on=())
@endpoint
def reviews(request: HttpRequest) -> HttpResponse:
    """List all reviews, the newest first, with what others say of the reviewed."""
    return views_optimised.list_reviews(request, from_database)
