"""The marketplace's addresses: seven endpoints, each in every version there is.

The versions answer the same. ``optimised:`` stands at the root, the others under their names.
"""

from types import ModuleType

from django.contrib import admin
from django.urls import URLPattern, include, path

import accounts.views_cached
import accounts.views_naive
import accounts.views_optimised
import jobs.views_cached
import jobs.views_naive
import jobs.views_optimised
import payment.views_cached
import payment.views_naive
import payment.views_optimised
import rating.views_cached
import rating.views_naive
import rating.views_optimised


def endpoints(
    *, jobs: ModuleType, accounts: ModuleType, payment: ModuleType, rating: ModuleType
) -> list[URLPattern]:
    """Return the seven endpoints of one version, from the view modules of its apps."""
    return [
        path("alljobs", jobs.all_jobs, name="alljobs"),
        path("saved-jobs", jobs.saved_jobs, name="saved-jobs"),
        path("applications", jobs.applications, name="applications"),
        path("payments", payment.payments, name="payments"),
        path("reviews", rating.reviews, name="reviews"),
        path("user-profile", accounts.user_profile, name="user-profile"),
        path("job-details", jobs.job_details, name="job-details"),
    ]


naive = endpoints(
    jobs=jobs.views_naive,
    accounts=accounts.views_naive,
    payment=payment.views_naive,
    rating=rating.views_naive,
)
optimised = endpoints(
    jobs=jobs.views_optimised,
    accounts=accounts.views_optimised,
    payment=payment.views_optimised,
    rating=rating.views_optimised,
)
cached = endpoints(
    jobs=jobs.views_cached,
    accounts=accounts.views_cached,
    payment=payment.views_cached,
    rating=rating.views_cached,
)

urlpatterns = [
    path("admin/", admin.site.urls),
    path("naive/", include((naive, "naive"))),
    path("cached/", include((cached, "cached"))),
    path("", include((optimised, "optimised"))),
]
