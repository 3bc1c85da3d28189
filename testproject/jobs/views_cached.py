"""The jobs' endpoints reading through the cache: no query at all when it is warm."""

from django.http import HttpRequest, HttpResponse

from django_querybudget.cache import cached_queryset
from jobs import views_optimised
from marketplace.api import endpoint


@endpoint
def all_jobs(request: HttpRequest) -> HttpResponse:
    """List the open jobs, the newest first."""
    return views_optimised.list_jobs(request, cached_queryset)


@endpoint
def saved_jobs(request: HttpRequest) -> HttpResponse:
    """List the jobs that the user has saved, the last saved first."""
    return views_optimised.list_saved_jobs(request, cached_queryset)


@endpoint
def applications(request: HttpRequest) -> HttpResponse:
    """List the user's applications and those for the user's jobs, the newest first."""
    return views_optimised.list_applications(request, cached_queryset)


@endpoint
def job_details(request: HttpRequest) -> HttpResponse:
    """Show the job that ``?id=`` names, with its pictures and who applied."""
    return views_optimised.show_job(request, cached_queryset)
