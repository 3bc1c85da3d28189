"""The figures of a user's profile, as expressions: one query has them all."""

from typing import Any

from django.db.models import Count, Exists, F, IntegerField, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from accounts.models import OTP, CustomUser
from jobs.models import Application, ApplicationStatus, Job, SavedJob
from payment.models import Payment, PaymentStatus
from rating.aggregates import average_rating, review_count

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


def users_with_figures() -> QuerySet[CustomUser]:
    """Return the users with profile, wallet and what their profile says of them."""
    return CustomUser.objects.select_related("profile", "wallet").annotate(
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
