import pytest
from django.core.cache import caches
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from jobs.models import Industry, Job
from accounts.models import CustomUser
from payment.models import Payment
from django_querybudget.cache import cached_queryset, cache_stats, invalidate

pytestmark = pytest.mark.django_db(transaction=True)

@pytest.fixture(autouse=True, params=["locmem", "redis"])
def backend(request, settings):
    if request.param == "redis":
        request.getfixturevalue("redis_url")
        settings.QUERYBUDGET = {"CACHE": {**settings.QUERYBUDGET["CACHE"], "ALIAS": "redis"}}
        caches["redis"].clear()
    caches["default"].clear()
    cache_stats(reset=True)

def queries(f):
    with CaptureQueriesContext(connection) as c:
        r = f()
    return r, len(c)

def make():
    u = CustomUser.objects.create(username="a", email="a@x")
    i = Industry.objects.create(name="i")
    j = Job.objects.create(client=u, industry=i, title="t", budget="1.50", requirements={"a": [1]})
    return u, i, j

def test_hit():
    u, i, j = make()
    qs = lambda: cached_queryset(Job.objects.select_related("client", "industry").prefetch_related("subcategories", "pictures"))
    rows, n = queries(lambda: list(qs()))
    assert n == 3
    rows, n = queries(lambda: list(qs()))
    assert n == 0, cache_stats()
    assert rows[0].client.username == "a"
    assert rows[0].budget == j.__class__.objects.get().budget
    assert queries(lambda: list(rows[0].pictures.all())) == ([], 0)
    j.title = "new"; j.save()
    rows, n = queries(lambda: list(qs()))
    assert (n, rows[0].title) == (3, "new")
    rows, n = queries(lambda: list(qs()))
    assert n == 0, cache_stats()
    assert isinstance(qs(), type(Job.objects.all()))

def test_row():
    u, i, j = make()
    j2 = Job.objects.create(client=u, industry=i, title="t2", budget="1.50")
    get = lambda: cached_queryset(Job.objects.all()).get(pk=j.pk)
    assert queries(get)[1] == 1
    assert queries(get)[1] == 0
    j2.title = "x"; j2.save()
    assert queries(get)[1] == 0
    Job.objects.create(client=u, industry=i, title="t2", budget="1.50")
    assert queries(get)[1] == 0
    Job.objects.update(title="q")
    assert queries(get)[0].title == "q"
    j.delete()
    with pytest.raises(Job.DoesNotExist):
        get()

def test_scalars():
    u, i, j = make()
    from django.db.models import Count, Sum
    qs = lambda: cached_queryset(Job.objects.filter(title="t"))
    for f in (lambda: qs().count(), lambda: qs().exists(), lambda: qs().aggregate(Sum("budget"), n=Count("pk")), lambda: list(qs().values("title")), lambda: list(qs().values_list("title", named=True)), lambda: qs().first(), lambda: qs().in_bulk(), lambda: list(qs().values_list("pk", flat=True)), lambda: list(qs().dates("created_at", "day"))):
        a, n = queries(f)
        assert n == 1
        b, m = queries(f)
        assert (m, a) == (0, b)

def test_transaction():
    u, i, j = make()
    qs = lambda: [x.title for x in cached_queryset(Job.objects.all())]
    assert qs() == ["t"]
    with transaction.atomic():
        assert queries(qs)[1] == 0
        Job.objects.update(title="in")
        assert qs() == ["in"]
    assert queries(qs) == (["in"], 1)
    assert queries(qs) == (["in"], 0)
    try:
        with transaction.atomic():
            Job.objects.update(title="rolled")
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert queries(qs) == (["in"], 0)

def test_decorator():
    u, i, j = make()
    calls = []
    @cached_queryset(timeout=60)
    def of(user, status="open"):
        calls.append(1)
        return Job.objects.filter(client=user, status=status)
    list(of(u)); list(of(u))
    assert queries(lambda: list(of(u)))[1] == 0
    n = len(calls)
    assert [x.title for x in of(u)] == ["t"]
    assert len(calls) == n
    assert of(u).count() == 1
    assert of(u, status="done").count() == 0
    j.title = "z"; j.save()
    assert [x.title for x in of(u)] == ["z"]
    of.invalidate(u)
    assert queries(lambda: list(of(u)))[1] == 1
    with pytest.raises(TypeError, match="user"):
        of([1])
