"""How a payment looks in JSON: the same, however its objects were loaded."""

from typing import Any

from accounts.models import CustomUser
from marketplace.api import money
from payment.models import Payment


def payment_row(payment: Payment) -> dict[str, Any]:
    return {
        "id": payment.pk,
        "reference": payment.reference,
        "amount": money(payment.amount),
        "currency": payment.currency,
        "status": payment.status,
        "created_at": payment.created_at.isoformat(),
        "job": payment.job.title,
        "payer": _person(payment.payer),
        "recipient": _person(payment.recipient),
    }


def _person(user: CustomUser) -> dict[str, Any]:
    return {"id": user.pk, "name": user.full_name, "avatar": user.avatar}
