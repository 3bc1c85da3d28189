import pytest
from accounts.models import CustomUser
from django_querybudget import query_budget, QueryBudgetExceeded
from django_querybudget.testing import assert_max_queries, assert_query_growth
from jobs.models import Job, Industry

def populate(n):
    user = CustomUser.objects.create(username="a", email="a@b.c")
    ind = Industry.objects.create(name="x")
    for i in range(n):
        Job.objects.create(client=user, industry=ind, title=str(i), budget=1)

@pytest.mark.django_db
def test_a():
    with assert_max_queries(0):
        for x in range(3):
            CustomUser.objects.filter(pk=x).exists()

@pytest.mark.django_db
def test_g():
    def m():
        for job in Job.objects.all():
            job.client
    assert_query_growth(populate, m)
