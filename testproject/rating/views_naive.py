"""The reviews' endpoint as it is written first: seven questions for each row."""

from typing import Any

from django.http import HttpRequest, HttpResponse

from marketplace.api import endpoint, page_response, paginate_at_once, stars
from rating.models import Review


@endpoint
def reviews(request: HttpRequest) -> HttpResponse:
    """List all reviews, the newest first, with what others say of the reviewed."""
    page, count = paginate_at_once(request, Review.objects.order_by("-created_at", "-id"))
    return page_response(request, [_review_row(review) for review in page], count)


def _review_row(review: Review) -> dict[str, Any]:
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
            "rating": stars(review.reviewed.average_rating),
            "reviews": review.reviewed.review_count,
        },
    }
