"""Tenants, and a table that all of them share."""

from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Client(TenantMixin):
    name = models.CharField(max_length=40)
    auto_create_schema = False

    def __str__(self) -> str:
        return self.name


class Domain(DomainMixin):
    pass


class Price(models.Model):
    amount = models.IntegerField()

    def __str__(self) -> str:
        return str(self.amount)
