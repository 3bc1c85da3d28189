"""The profile's endpoint as it is written first: one question for each figure."""

from django.db.models import Sum
from django.http import HttpRequest, HttpResponse, JsonResponse

from accounts.models import CustomUser
from accounts.rows import profile_row, wallet_row
from jobs.models import ApplicationStatus
from marketplace.api import endpoint, money, stars, user_of
from payment.models import PaymentStatus


@endpoint
def user_profile(request: HttpRequest) -> HttpResponse:
    """Show the user's profile, wallet, figures and latest reviews."""
    user = CustomUser.objects.get(pk=user_of(request).pk)
    paid = PaymentStatus.PAID
    earned = user.payments_received.filter(status=paid).aggregate(total=Sum("amount"))["total"]
    spent = user.payments_made.filter(status=paid).aggregate(total=Sum("amount"))["total"]
    latest = [
        {
            "rating": review.rating,
            "comment": review.comment,
            "created_at": review.created_at.isoformat(),
            "reviewer": {"name": review.reviewer.full_name, "avatar": review.reviewer.avatar},
        }
        for review in user.reviews_received.order_by("-created_at", "-id")[:5]
    ]
    return JsonResponse(
        {
            "id": user.pk,
            "username": user.username,
            "email": user.email,
            "name": user.full_name,
            "verified": user.otps.filter(is_verified=True).exists(),
            "profile": profile_row(user),
            "wallet": wallet_row(user),
            "rating": stars(user.average_rating),
            "reviews": user.review_count,
            "jobs": user.jobs.count(),
            "saved_jobs": user.saved_jobs.count(),
            "applications": user.applications.count(),
            "accepted": user.applications.filter(status=ApplicationStatus.ACCEPTED).count(),
            "earned": money(earned),
            "spent": money(spent),
            "latest_reviews": latest,
        }
    )
