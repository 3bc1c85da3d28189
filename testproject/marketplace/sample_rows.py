"""Builds the rows of the sample data, unsaved: a pure function of the sizes.

Everything comes from one seeded generator and fixed times, primary keys included. Activity is
skewed as it is in life: the first users have many applications, payments and reviews, the last
ones few or none.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import TypeVar

from django.contrib.auth.hashers import make_password
from django.db.models import Model

from accounts.models import OTP, CustomUser, Profile, Role, Wallet
from jobs.models import (
    Application,
    ApplicationStatus,
    Industry,
    Job,
    JobPicture,
    JobStatus,
    SavedJob,
    Subcategory,
)
from marketplace import sample_words as words
from payment.models import Payment, PaymentStatus
from rating.models import Review

SEED = 20260101
NOW = datetime(2026, 1, 1, tzinfo=UTC)
"""The moment that the sample data ends at: no row is younger."""

DEMO_PASSWORD = "demo"  # every sample user's; it protects nothing

JobSubcategory = Job.subcategories.through

Rows = dict[type[Model], list[Model]]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many rows of each kind; pictures, codes and links follow from these."""

    users: int
    jobs: int
    applications: int
    payments: int
    reviews: int
    saved_jobs: int

    @classmethod
    def at(cls, scale: float) -> "Sizes":
        """Return the documented sizes times ``scale``, with enough users and jobs to link.

        Raises ValueError unless ``scale`` is above 0 and at most 100.
        """
        if not 0 < scale <= 100:
            raise ValueError(
                f"scale must be above 0 and at most 100, not {scale!r}: 1 is the documented size."
            )
        users, jobs = max(9, round(200 * scale)), max(10, round(500 * scale))
        # A pair of a user and a job exists once: at tiny scales there are not enough pairs.
        most = users * jobs // 4
        return cls(
            users=users,
            jobs=jobs,
            applications=min(most, max(1, round(2000 * scale))),
            payments=max(1, round(1000 * scale)),
            reviews=min(most, max(1, round(1500 * scale))),
            saved_jobs=min(most, max(1, round(1000 * scale))),
        )


def build(sizes: Sizes) -> Rows:
    """Return the unsaved rows of every model; the same for the same sizes."""
    rng = random.Random(SEED)  # noqa: S311  # sample data, not secrets
    rows: Rows = defaultdict(list)
    users = _people(rng, sizes, rows)
    clients = [user for user in users if user.role == Role.CLIENT]
    freelancers = [user for user in users if user.role == Role.FREELANCER]
    jobs = _jobs(rng, sizes, rows, clients)
    _applications(rng, sizes, rows, jobs, freelancers)
    _saved_jobs(rng, sizes, rows, jobs, users)
    _payments(rng, sizes, rows, jobs, freelancers)
    _reviews(rng, sizes, rows, jobs, freelancers)
    for of_model in rows.values():
        for number, row in enumerate(of_model, start=1):
            row.pk = number
    return rows


def _people(rng: random.Random, sizes: Sizes, rows: Rows) -> list[CustomUser]:
    password = _demo_password()
    users = []
    for number in range(1, sizes.users + 1):
        first, last = rng.choice(words.FIRST_NAMES), rng.choice(words.LAST_NAMES)
        joined_at = _before(rng, NOW, days=900)
        user = CustomUser(
            id=number,
            username=f"{first}.{last}.{number}".lower(),
            email=f"{first}.{last}.{number}@example.com".lower(),
            first_name=first,
            last_name=last,
            password=password,
            role=Role.CLIENT if number % 3 == 0 else Role.FREELANCER,
            is_active=rng.random() > 0.03 or number <= 9,
            date_joined=joined_at,
        )
        users.append(user)
        rows[Profile].append(
            Profile(
                user=user,
                role=user.role,
                headline=f"{rng.choice(words.ADJECTIVES)} {rng.choice(words.TRADES)}",
                bio=_sentences(rng, 3),
                avatar=f"avatars/{number:04d}.jpg" if rng.random() < 0.7 else "",
                city=rng.choice(words.CITIES),
                skills=rng.sample(words.SKILLS, rng.randint(0, 5)),
                joined_at=joined_at,
            )
        )
        rows[Wallet].append(Wallet(user=user, balance=_money(rng, 0, 5000), updated_at=NOW))
        rows[OTP].extend(
            OTP(
                user=user,
                code=f"{rng.randrange(10**6):06d}",
                is_verified=rng.random() < 0.8,
                created_at=joined_at + timedelta(minutes=offset),
            )
            for offset in range(1, rng.randint(1, 3) + 1)
        )
    rows[CustomUser].extend(users)
    return users


@cache
def _demo_password() -> str:
    # Hashed once: two hundred rounds of PBKDF2 would take longer than everything else.
    return make_password(DEMO_PASSWORD, salt="marketplaceSampleData1")


def _jobs(rng: random.Random, sizes: Sizes, rows: Rows, clients: Sequence[CustomUser]) -> list[Job]:
    industries = [Industry(id=i, name=name) for i, name in enumerate(words.INDUSTRIES, start=1)]
    rows[Industry].extend(industries)
    subcategories: dict[Industry, list[Subcategory]] = {}
    for industry in industries:
        subcategories[industry] = [
            Subcategory(id=len(rows[Subcategory]) + i, industry=industry, name=name)
            for i, name in enumerate(words.INDUSTRIES[industry.name], start=1)
        ]
        rows[Subcategory].extend(subcategories[industry])
    jobs = []
    for number in range(1, sizes.jobs + 1):
        industry = rng.choice(industries)
        status = rng.choices(JobStatus.values, weights=[50, 20, 25, 5])[0]
        created_at = _before(rng, NOW, days=365)
        closed = status in (JobStatus.DONE, JobStatus.CANCELLED)
        job = Job(
            id=number,
            client=_skewed(rng, clients),
            industry=industry,
            title=f"{rng.choice(words.ADJECTIVES)} {rng.choice(words.TRADES)} for "
            f"{rng.choice(words.CITIES)}",
            description=_sentences(rng, 4),
            budget=_money(rng, 50, 9000),
            status=status,
            requirements={"skills": rng.sample(words.SKILLS, 2), "remote": rng.random() < 0.5},
            created_at=created_at,
            closed_at=min(NOW, created_at + timedelta(days=20)) if closed else None,
        )
        jobs.append(job)
        for subcategory in rng.sample(subcategories[industry], rng.randint(1, 3)):
            rows[JobSubcategory].append(JobSubcategory(job=job, subcategory=subcategory))
        rows[JobPicture].extend(
            JobPicture(
                job=job,
                image=f"jobs/{number:05d}-{position}.jpg",
                caption=_sentences(rng, 1) if rng.random() < 0.5 else "",
                position=position,
            )
            for position in range(1, rng.randint(0, 3) + 1)
        )
    rows[Job].extend(jobs)
    return jobs


def _applications(
    rng: random.Random,
    sizes: Sizes,
    rows: Rows,
    jobs: Sequence[Job],
    freelancers: Sequence[CustomUser],
) -> None:
    pairs = _pairs(rng, freelancers, jobs, sizes.applications)
    for applicant, job in pairs:
        rows[Application].append(
            Application(
                job=job,
                applicant=applicant,
                cover_letter=_sentences(rng, 2),
                offer=_money(rng, 50, 9000),
                status=rng.choices(ApplicationStatus.values, weights=[60, 20, 10, 10])[0],
                created_at=_before(rng, NOW, days=200),
            )
        )


def _saved_jobs(
    rng: random.Random,
    sizes: Sizes,
    rows: Rows,
    jobs: Sequence[Job],
    users: Sequence[CustomUser],
) -> None:
    pairs = _pairs(rng, users, jobs, sizes.saved_jobs)
    rows[SavedJob].extend(
        SavedJob(user=user, job=job, created_at=_before(rng, NOW, days=200)) for user, job in pairs
    )


def _payments(
    rng: random.Random,
    sizes: Sizes,
    rows: Rows,
    jobs: Sequence[Job],
    freelancers: Sequence[CustomUser],
) -> None:
    for number in range(1, sizes.payments + 1):
        job = rng.choice(jobs)
        rows[Payment].append(
            Payment(
                payer=job.client,
                recipient=_skewed(rng, freelancers),
                job=job,
                amount=_money(rng, 20, 3000),
                status=rng.choices(PaymentStatus.values, weights=[15, 75, 5, 5])[0],
                details={"method": rng.choice(["card", "transfer"]), "instalment": number % 3 + 1},
                created_at=_before(rng, NOW, days=300),
            )
        )


def _reviews(
    rng: random.Random,
    sizes: Sizes,
    rows: Rows,
    jobs: Sequence[Job],
    freelancers: Sequence[CustomUser],
) -> None:
    pairs = _pairs(rng, freelancers, jobs, sizes.reviews)
    for freelancer, job in pairs:
        by_client = rng.random() < 0.6
        rows[Review].append(
            Review(
                reviewed=freelancer if by_client else job.client,
                reviewer=job.client if by_client else freelancer,
                job=job,
                rating=rng.choices([1, 2, 3, 4, 5], weights=[5, 8, 17, 35, 35])[0],
                comment=_sentences(rng, 2),
                created_at=_before(rng, NOW, days=200),
            )
        )


def _pairs(
    rng: random.Random, users: Sequence[CustomUser], jobs: Sequence[Job], number: int
) -> Iterable[tuple[CustomUser, Job]]:
    """Return so many different pairs, the first users in more of them than the last."""
    pairs: dict[tuple[int, int], tuple[CustomUser, Job]] = {}
    while len(pairs) < number:
        user, job = _skewed(rng, users), rng.choice(jobs)
        pairs.setdefault((user.pk, job.pk), (user, job))
    return pairs.values()


def _skewed(rng: random.Random, items: Sequence[T]) -> T:
    return items[int(len(items) * rng.random() ** 2)]


def _before(rng: random.Random, moment: datetime, *, days: int) -> datetime:
    return moment - timedelta(minutes=rng.randrange(1, days * 24 * 60))


def _money(rng: random.Random, low: int, high: int) -> Decimal:
    return Decimal(rng.randrange(low * 100, high * 100)) / 100


def _sentences(rng: random.Random, number: int) -> str:
    return " ".join(rng.choice(words.SENTENCES) for _ in range(number))
