"""The jobs' endpoints as they are written first: each row asks for what it shows.

These are the patient, not the cure: the properties, loops and half-right eager loading of real
code. What stands outside of their loops is sound: the lines that the library suggests are enough.
``views_optimised`` answers the same with three queries at most.
"""

from typing import Any

from django.db.models import Avg, Q
from django.http import HttpRequest, HttpResponse, JsonResponse

from accounts.models import CustomUser
from jobs.models import Application, ApplicationStatus, Job, JobStatus, SavedJob
from marketplace.api import (
    ApiError,
    endpoint,
    money,
    page_response,
    paginate_at_once,
    stars,
    user_of,
    whole_number,
)
from rating.aggregates import average_rating, review_count


@endpoint
def all_jobs(request: HttpRequest) -> HttpResponse:
    """List the open jobs, the newest first."""
    jobs = Job.objects.filter(status=JobStatus.OPEN).prefetch_related("applications")
    page, count = paginate_at_once(request, jobs)
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
        "applications": job.application_count,
        # Prefetched, but a filter is another query.
        "shortlisted": job.shortlisted_count,
    }


def _person(user: CustomUser) -> dict[str, Any]:
    return {"id": user.pk, "name": user.full_name, "avatar": user.avatar}


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
    page, count = paginate_at_once(request, saved)
    results = []
    for row in page:
        cover = row.job.pictures.first()
        results.append(
            {
                "id": row.pk,
                "saved_at": row.created_at.isoformat(),
                "job": {
                    "id": row.job.pk,
                    "title": row.job.title,
                    "budget": money(row.job.budget),
                    "status": row.job.status,
                    "cover": cover.url if cover else None,
                    "client": {
                        "name": row.job.client.full_name,
                        "avatar": row.job.client.avatar,
                    },
                    "applications": row.job.applications.count(),
                    "applied": row.job.applications.filter(applicant=user).exists(),
                },
            }
        )
    return page_response(request, results, count)


@endpoint
def applications(request: HttpRequest) -> HttpResponse:
    """List the user's applications and those for the user's jobs, the newest first."""
    user = user_of(request)
    mine = Q(applicant=user) | Q(job__client=user)
    newest = Application.objects.filter(mine).order_by("-created_at", "-id")
    page, count = paginate_at_once(request, newest)
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
                "applications": application.job.applications.count(),
            },
        }
        for application in page
    ]
    own = Application.objects.filter(mine)
    statuses = {status: own.filter(status=status).count() for status in ApplicationStatus.values}
    return page_response(request, results, count, statuses=statuses)


@endpoint
def job_details(request: HttpRequest) -> HttpResponse:
    """Show the job that ``?id=`` names, with its pictures and who applied."""
    number = whole_number(request, "id")
    job: Any = (
        Job.objects.filter(pk=number)
        .select_related("industry", "client__profile")
        .annotate(client_rating=average_rating("client"), client_reviews=review_count("client"))
        .first()
    )
    if job is None:
        raise ApiError(404, f"There is no job {number}.")
    applied = [
        {
            "id": application.pk,
            "status": application.status,
            "created_at": application.created_at.isoformat(),
            "applicant": {
                **_person(application.applicant),
                "rating": stars(
                    application.applicant.reviews_received.aggregate(mean=Avg("rating"))["mean"]
                ),
                "reviews": application.applicant.reviews_received.count(),
            },
        }
        for application in job.applications.order_by("created_at", "id")
    ]
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
        "client": {**_person(job.client), "rating": stars(job.client_rating)},
        "client_reviews": job.client_reviews,
        "pictures": [{"url": each.url, "caption": each.caption} for each in job.pictures.all()],
        "applications": applied,
        "shortlisted": sum(row["status"] == ApplicationStatus.SHORTLISTED for row in applied),
    }
    return JsonResponse(details)
