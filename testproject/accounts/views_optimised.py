"""The profile's endpoint with three queries: the login, all figures, the latest reviews."""

from typing import Any

from django.db.models import Count, Exists, F, IntegerField, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, JsonResponse

from accounts.models import OTP, CustomUser
from accounts.rows import profile_row, wallet_row
from jobs.models import Application, ApplicationStatus, Job, SavedJob
from marketplace.api import Read, endpoint, from_database, money, stars, user_of
from payment.models import Payment, PaymentStatus
from rating.aggregates import average_rating, review_count
from rating.models import Review

ACCEPTED = Application.objects.filter(status=ApplicationStatus.ACCEPTED)
PAID = Payment.objects.filter(status=PaymentStatus.PAID)


def _number_of(rows: QuerySet[Any], user: str) -> Coalesce:
    """Return how many of ``rows`` point with the field ``user`` to the user outside."""
    counted = _of_user(rows, user).annotate(value=Count("pk")).values("value")
    return Coalesce(Subquery(counted), 0, output_field=IntegerField())


def _sum_of(payments: QuerySet[Payment], user: str) -> Subquery:
    """Return the amount of the payments whose field ``user`` is the user outside."""
    return Subquery(_of_user(payments, user).annotate(value=Sum("amount")).values("value"))


def _of_user(rows: QuerySet[Any], user: str) -> QuerySet[Any]:
    # Grouped by an alias without the model's ordering: one row for the user, or none.
    return rows.filter(**{user: OuterRef("pk")}).order_by().values(grouped=F(user))


@endpoint
def user_profile(request: HttpRequest) -> HttpResponse:
    """Show the user's profile, wallet, figures and latest reviews."""
    return show_profile(request, from_database)


def show_profile(request: HttpRequest, read: Read) -> HttpResponse:
    users = read(
        CustomUser.objects.select_related("profile", "wallet").annotate(
            verified=Exists(OTP.objects.filter(user=OuterRef("pk"), is_verified=True)),
            rating=average_rating("pk"),
            number_of_reviews=review_count("pk"),
            number_of_jobs=_number_of(Job.objects.all(), "client"),
            number_saved=_number_of(SavedJob.objects.all(), "user"),
            number_applied=_number_of(Application.objects.all(), "applicant"),
            number_accepted=_number_of(ACCEPTED, "applicant"),
            earned=_sum_of(PAID, "recipient"),
            spent=_sum_of(PAID, "payer"),
        )
    )
    user: Any = users.get(pk=user_of(request).pk)
    reviews = read(Review.objects.filter(reviewed=user).select_related("reviewer__profile"))
    latest = [
        {
            "rating": review.rating,
            "comment": review.comment,
            "created_at": review.created_at.isoformat(),
            "reviewer": {"name": review.reviewer.full_name, "avatar": review.reviewer.avatar},
        }
        for review in reviews.order_by("-created_at", "-id")[:5]
    ]
    return JsonResponse(
        {
            "id": user.pk,
            "username": user.username,
            "email": user.email,
            "name": user.full_name,
            "verified": user.verified,
            "profile": profile_row(user),
            "wallet": wallet_row(user),
            "rating": stars(user.rating),
            "reviews": user.number_of_reviews,
            "jobs": user.number_of_jobs,
            "saved_jobs": user.number_saved,
            "applications": user.number_applied,
            "accepted": user.number_accepted,
            "earned": money(user.earned),
            "spent": money(user.spent),
            "latest_reviews": latest,
        }
    )
