"""The payments' endpoint as it is written first, and after its first repair.

Somebody saw slow queries and joined everything within reach: five tables that no one reads, and
not the two profiles that each row then asks for.
"""

from decimal import Decimal

from django.db.models import Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse

from marketplace.api import endpoint, money, page_response, paginate, user_of
from payment.models import Payment, PaymentStatus
from payment.rows import payment_row


@endpoint
def payments(request: HttpRequest) -> HttpResponse:
    """List what the user has paid and received, the newest first, with both totals."""
    user = user_of(request)
    mine = (
        Payment.objects.filter(Q(payer=user) | Q(recipient=user))
        .select_related(
            "job__industry", "job__client__wallet", "payer__wallet", "recipient__wallet"
        )
        .order_by("-created_at", "-id")
    )
    page, count = paginate(request, mine)
    paid = Payment.objects.filter(status=PaymentStatus.PAID)
    return page_response(
        request,
        [payment_row(payment) for payment in page],
        count,
        paid=money(_total(paid.filter(payer=user))),
        received=money(_total(paid.filter(recipient=user))),
    )


def _total(payments: QuerySet[Payment]) -> Decimal | None:
    total: Decimal | None = payments.aggregate(total=Sum("amount"))["total"]
    return total
