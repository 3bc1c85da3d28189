"""The jobs' endpoints with everything a page shows loaded before it is shown.

At most three queries each, the look-up of the logged-in user among them.
"""

from typing import Any

from django.db.models import Count, Exists, IntegerField, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, JsonResponse

from accounts.models import CustomUser
from jobs.models import Application, ApplicationStatus, Job, JobPicture, JobStatus, SavedJob
from marketplace.api import (
    ApiError,
    Read,
    check_page,
    endpoint,
    from_database,
    money,
    page_number,
    page_of,
    page_response,
    paginate_at_once,
    stars,
    user_of,
    whole_number,
)
from rating.aggregates import average_rating, review_count


def _number_of(applications: QuerySet[Application], job: str) -> Coalesce:
    """Return how many of ``applications`` are for the job that ``job`` names outside."""
    for_job = applications.filter(job=OuterRef(job)).order_by().values("job")
    counted = for_job.annotate(value=Count("pk")).values("value")
    return Coalesce(Subquery(counted), 0, output_field=IntegerField())


SHORTLISTED = Application.objects.filter(status=ApplicationStatus.SHORTLISTED)


@endpoint
def all_jobs(request: HttpRequest) -> HttpResponse:
    """List the open jobs, the newest first."""
    return list_jobs(request, from_database)


def list_jobs(request: HttpRequest, read: Read) -> HttpResponse:
    jobs = read(
        Job.objects.filter(status=JobStatus.OPEN)
        .select_related("industry", "client__profile")
        .prefetch_related("subcategories")
        .annotate(
            applied=_number_of(Application.objects.all(), "pk"),
            shortlisted=_number_of(SHORTLISTED, "pk"),
        )
    )
    page, count = paginate_at_once(request, jobs)
    return page_response(request, [_job_row(job) for job in page], count)


def _job_row(job: Any) -> dict[str, Any]:
    return {
        "id": job.pk,
        "title": job.title,
        "budget": money(job.budget),
        "created_at": job.created_at.isoformat(),
        "industry": job.industry.name,
        "subcategories": [subcategory.name for subcategory in job.subcategories.all()],
        "client": _person(job.client),
        "applications": job.applied,
        "shortlisted": job.shortlisted,
    }


def _person(user: CustomUser) -> dict[str, Any]:
    return {"id": user.pk, "name": user.full_name, "avatar": user.avatar}


@endpoint
def saved_jobs(request: HttpRequest) -> HttpResponse:
    """List the jobs that the user has saved, the last saved first."""
    return list_saved_jobs(request, from_database)


def list_saved_jobs(request: HttpRequest, read: Read) -> HttpResponse:
    user = user_of(request)
    saved = read(
        SavedJob.objects.filter(user=user)
        .select_related("job__client__profile")
        .prefetch_related(Prefetch("job__pictures", to_attr="loaded_pictures"))
        .annotate(
            applications=_number_of(Application.objects.all(), "job"),
            applied=Exists(Application.objects.filter(job=OuterRef("job"), applicant=user)),
        )
        .order_by("-created_at", "-id")
    )
    page, count = paginate_at_once(request, saved)
    return page_response(request, [_saved_row(row) for row in page], count)


def _saved_row(row: Any) -> dict[str, Any]:
    job = row.job
    pictures: list[JobPicture] = job.loaded_pictures
    return {
        "id": row.pk,
        "saved_at": row.created_at.isoformat(),
        "job": {
            "id": job.pk,
            "title": job.title,
            "budget": money(job.budget),
            "status": job.status,
            "cover": pictures[0].url if pictures else None,
            "client": {"name": job.client.full_name, "avatar": job.client.avatar},
            "applications": row.applications,
            "applied": row.applied,
        },
    }


@endpoint
def applications(request: HttpRequest) -> HttpResponse:
    """List the user's applications and those for the user's jobs, the newest first."""
    return list_applications(request, from_database)


def list_applications(request: HttpRequest, read: Read) -> HttpResponse:
    user = user_of(request)
    mine = read(Application.objects.filter(Q(applicant=user) | Q(job__client=user)))
    by_status = dict(mine.order_by().values_list("status").annotate(Count("pk")))
    statuses = {status: by_status.get(status, 0) for status in ApplicationStatus.values}
    count = sum(by_status.values())
    check_page(page_number(request), count)
    page = page_of(
        request,
        mine.select_related("applicant__profile", "job__industry", "job__client")
        .annotate(job_applications=_number_of(Application.objects.all(), "job"))
        .order_by("-created_at", "-id"),
    )
    results = [_application_row(application) for application in page]
    return page_response(request, results, count, statuses=statuses)


def _application_row(application: Any) -> dict[str, Any]:
    return {
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
            "applications": application.job_applications,
        },
    }


@endpoint
def job_details(request: HttpRequest) -> HttpResponse:
    """Show the job that ``?id=`` names, with its pictures and who applied."""
    return show_job(request, from_database)


def show_job(request: HttpRequest, read: Read) -> HttpResponse:
    number = whole_number(request, "id")
    applied = (
        Application.objects.select_related("applicant__profile")
        .annotate(
            applicant_rating=average_rating("applicant"),
            applicant_reviews=review_count("applicant"),
        )
        .order_by("created_at", "id")
    )
    shown = read(
        Job.objects.filter(pk=number)
        .select_related("industry", "client__profile")
        .prefetch_related("pictures", Prefetch("applications", applied, to_attr="applied"))
        .annotate(
            client_rating=average_rating("client"),
            client_reviews=review_count("client"),
        )
    )
    job: Any = shown.first()
    if job is None:
        raise ApiError(404, f"There is no job {number}.")
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
        "applications": [
            {
                "id": application.pk,
                "status": application.status,
                "created_at": application.created_at.isoformat(),
                "applicant": {
                    **_person(application.applicant),
                    "rating": stars(application.applicant_rating),
                    "reviews": application.applicant_reviews,
                },
            }
            for application in job.applied
        ],
        "shortlisted": sum(
            application.status == ApplicationStatus.SHORTLISTED for application in job.applied
        ),
    }
    return JsonResponse(details)
