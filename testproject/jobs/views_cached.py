"""The jobs' endpoints, whose whole answers are kept: no query at all when they are warm.

Lists that are the same for all are shared (``vary_on=()``); a user's own are that user's alone.
"""

from django.http import HttpRequest, HttpResponse

from django_querybudget.cache import cached_view
from jobs import views_optimised
from marketplace.api import endpoint, from_database


@cached_view(600, vary_on=())
@endpoint
def all_jobs(request: HttpRequest) -> HttpResponse:
    """List the open jobs, the newest first."""
    return views_optimised.list_jobs(request, from_database)


@cached_view(600)
@endpoint
def saved_jobs(request: HttpRequest) -> HttpResponse:
    """List the jobs that the user has saved, the last saved first."""
    return views_optimised.list_saved_jobs(request, from_database)


@cached_view(600)
@endpoint
def applications(request: HttpRequest) -> HttpResponse:
    """List the user's applications and those for the user's jobs, the newest first."""
    return views_optimised.list_applications(request, from_database)


@cached_view(600, vary_on=())
@endpoint
def job_details(request: HttpRequest) -> HttpResponse:
    """Show the job that ``?id=`` names, with its pictures and who applied."""
    return views_optimised.show_job(request, from_database)
