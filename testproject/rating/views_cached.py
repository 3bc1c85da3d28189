"""The reviews' endpoint reading through the cache: no query at all when it is warm."""

from django.http import HttpRequest, HttpResponse

from django_querybudget.cache import cached_queryset
from marketplace.api import endpoint
from rating import views_optimised


@endpoint
def reviews(request: HttpRequest) -> HttpResponse:
    """List all reviews, the newest first, with what others say of the reviewed."""
    return views_optimised.list_reviews(request, cached_queryset)
