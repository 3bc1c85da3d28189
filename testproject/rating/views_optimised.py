"""The reviews' endpoint with two queries: the number of reviews and the page."""

from typing import Any

from django.http import HttpRequest, HttpResponse

from marketplace.api import Read, endpoint, from_database, page_response, paginate, stars
from rating.aggregates import average_rating, review_count
from rating.models import Review


@endpoint
def reviews(request: HttpRequest) -> HttpResponse:
    """List all reviews, the newest first, with what others say of the reviewed."""
    return list_reviews(request, from_database)


def list_reviews(request: HttpRequest, read: Read) -> HttpResponse:
    newest = read(
        Review.objects.select_related("job", "reviewer__profile", "reviewed__profile")
        .annotate(
            reviewed_rating=average_rating("reviewed"), reviewed_count=review_count("reviewed")
        )
        .order_by("-created_at", "-id")
    )
    page, count = paginate(request, newest)
    return page_response(request, [_review_row(review) for review in page], count)


def _review_row(review: Any) -> dict[str, Any]:
    return {
        "id": review.pk,
        "rating": review.rating,
        "comment": review.comment,
        "created_at": review.created_at.isoformat(),
        "job": review.job.title,
        "reviewer": {"name": review.reviewer.full_name, "avatar": review.reviewer.avatar},
        "reviewed": {
            "name": review.reviewed.full_name,
            "avatar": review.reviewed.avatar,
            "rating": stars(review.reviewed_rating),
            "reviews": review.reviewed_count,
        },
    }
