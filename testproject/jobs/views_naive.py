"""The jobs' endpoints as they are written first: each row asks for what it shows.

These are the patient, not the cure: the properties, loops and half-right eager loading of real
code. ``views_optimised`` answers the same with three queries at most.
"""

from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponse, JsonResponse

from accounts.models import CustomUser
from jobs.models import Application, ApplicationStatus, Job, JobStatus, SavedJob
from marketplace.api import (
    ApiError,
    endpoint,
    money,
    page_response,
    paginate,
    stars,
    user_of,
    whole_number,
)


@endpoint
def all_jobs(request: HttpRequest) -> HttpResponse:
    """List the open jobs, the newest first."""
    jobs = Job.objects.filter(status=JobStatus.OPEN).prefetch_related("applications")
    page, count = paginate(request, jobs)
    return page_response(request, [_job_row(job) for job in page], count)


def _job_row(job: Job) -> dict[str, Any]:
    return {
        "id": job.pk,
        "title": job.title,
        "budget": money(job.budget),
        "created_at": job.created_at.isoformat(),
        "industry": job.industry.name,
        "subcategories": [subcategory.name for subcategory in job.subcategories.all()],
        "client": _person(job.client),
        "pictures": [picture.url for picture in job.pictures.all()],
        "applications": job.application_count,
        # Prefetched, but a filter is another query.
        "shortlisted": job.shortlisted_count,
    }


def _person(user: CustomUser) -> dict[str, Any]:
    return {
        "id": user.pk,
        "name": user.full_name,
        "avatar": user.avatar,
        "rating": stars(user.average_rating),
    }


@endpoint
def saved_jobs(request: HttpRequest) -> HttpResponse:
    """List the jobs that the user has saved, the last saved first."""
    user = user_of(request)
    saved = (
        SavedJob.objects.filter(user=user)
        .select_related("job")
        # "Only what the list shows": but Job.__init__ reads the status too.
        .only("created_at", "job__title", "job__budget", "job__client")
        .order_by("-created_at", "-id")
    )
    page, count = paginate(request, saved)
    results = []
    for row in page:
        job = row.job
        cover = job.pictures.first()
        results.append(
            {
                "id": row.pk,
                "saved_at": row.created_at.isoformat(),
                "job": {
                    "id": job.pk,
                    "title": job.title,
                    "budget": money(job.budget),
                    "status": job.status,
                    "cover": cover.url if cover else None,
                    "client": {"name": job.client.full_name, "avatar": job.client.avatar},
                    "applications": job.application_count,
                    "applied": job.applications.filter(applicant=user).exists(),
                },
            }
        )
    return page_response(request, results, count)


@endpoint
def applications(request: HttpRequest) -> HttpResponse:
    """List the user's applications and those for the user's jobs, the newest first."""
    user = user_of(request)
    mine = Application.objects.filter(Q(applicant=user) | Q(job__client=user))
    page, count = paginate(request, mine.order_by("-created_at", "-id"))
    results = [
        {
            "id": application.pk,
            "status": application.status,
            "offer": money(application.offer),
            "created_at": application.created_at.isoformat(),
            "applicant": _person(application.applicant),
            "job": {
                "id": application.job.pk,
                "title": application.job.title,
                "industry": application.job.industry.name,
                "client": application.job.client.full_name,
                "applications": application.job.application_count,
            },
        }
        for application in page
    ]
    statuses = {status: mine.filter(status=status).count() for status in ApplicationStatus.values}
    return page_response(request, results, count, statuses=statuses)


@endpoint
def job_details(request: HttpRequest) -> HttpResponse:
    """Show the job that ``?id=`` names, with its pictures and who applied."""
    number = whole_number(request, "id")
    try:
        job = Job.objects.get(pk=number)
    except Job.DoesNotExist:
        raise ApiError(404, f"There is no job {number}.") from None
    details = {
        "id": job.pk,
        "title": job.title,
        "description": job.description,
        "budget": money(job.budget),
        "status": job.status,
        "requirements": job.requirements,
        "created_at": job.created_at.isoformat(),
        "closed_at": job.closed_at.isoformat() if job.closed_at else None,
        "industry": job.industry.name,
        "client": _person(job.client),
        "client_reviews": job.client.review_count,
        "pictures": [{"url": each.url, "caption": each.caption} for each in job.pictures.all()],
        "applications": [
            {
                "id": application.pk,
                "status": application.status,
                "created_at": application.created_at.isoformat(),
                "applicant": _person(application.applicant),
            }
            for application in job.applications.order_by("created_at", "id")
        ],
        "shortlisted": job.shortlisted_count,
    }
    return JsonResponse(details)
