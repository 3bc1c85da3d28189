"""Tasks of a shop: what the tests of Celery run."""

from __future__ import annotations

from typing import Any

from celery import Celery, shared_task

from django_querybudget import query_budget
from jobs.models import Industry, Job

__all__ = ["app"]

app = Celery("shop", broker="memory://", backend="cache+memory://")
app.conf.task_store_eager_result = False
app.conf.worker_redirect_stdouts = False
app.conf.broker_connection_retry_on_startup = True
app.conf.broker_transport_options = {"polling_interval": 0.01}


def ask(times: int) -> int:
    return sum(Industry.objects.filter(pk=number).count() for number in range(times))


@app.task
def counts(times: int) -> int:
    return ask(times)


@app.task
def wakes() -> None:
    """Let a worker look whether it is to end: else it waits for two seconds, twice."""


@app.task
def fails(times: int) -> None:
    ask(times)
    raise LookupError("no such gig")


@app.task(bind=True, max_retries=2)
def retries(self: Any, times: int) -> int:
    ask(times)
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return times


@app.task
def nests(times: int) -> int:
    ask(1)
    counts.apply(args=[times])
    return ask(1)


@app.task
def loops() -> list[str]:
    return [job.client.username for job in Job.objects.all()]


# A budget in either order, of each way to make a task.


@app.task
@query_budget(2)
def below(times: int) -> int:
    return ask(times)


@query_budget(2)
@app.task
def above(times: int) -> int:
    return ask(times)


@query_budget(2)
@app.task(bind=True, name="shop.renamed")
def above_bound(self: Any, times: int) -> int:
    assert self.name == "shop.renamed"
    return ask(times)


@query_budget(2)
@app.task(autoretry_for=(LookupError,), max_retries=1, retry_backoff=False)
def above_autoretry(times: int) -> int:
    return ask(times)


@query_budget(2)
@shared_task
def above_shared(times: int) -> int:
    return ask(times)


@shared_task
@query_budget(2)
def below_shared(times: int) -> int:
    return ask(times)


@query_budget(2)
@shared_task(name="shop.shared")
def above_shared_named(times: int) -> int:
    return ask(times)


@query_budget(2)
class Above(app.Task):  # type: ignore[misc, name-defined]
    """A task that is a class."""

    name = "shop.of_class"

    def run(self, times: int) -> int:
        """Ask."""
        return ask(times)


above_class = app.register_task(Above())


@query_budget(2, on_exceed="log")
@app.task
def above_logged(times: int) -> int:
    return ask(times)
