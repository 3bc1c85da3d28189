"""The profile's endpoint as it is after its first repair: sound figures, and a list that was left.

Somebody put the figures into one query, then added the latest reviews: three questions for each.
"""

from django.http import HttpRequest, HttpResponse, JsonResponse

from accounts.figures import users_with_figures
from accounts.rows import LATEST, profile_page, review_row
from marketplace.api import endpoint, user_of
from rating.models import Review


@endpoint
def user_profile(request: HttpRequest) -> HttpResponse:
    """Show the user's profile, wallet, figures and latest reviews."""
    user = users_with_figures().get(pk=user_of(request).pk)
    received = Review.objects.filter(reviewed=user).order_by("-created_at", "-id")
    latest = [review_row(review) for review in received[:LATEST]]
    return JsonResponse(profile_page(user, latest))
