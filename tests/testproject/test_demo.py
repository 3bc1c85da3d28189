"""``manage.py demo``: its table, and the exit status when something is not as promised."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from io import StringIO
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.test import override_settings
from django.urls import URLResolver, include, path

import rating.views_naive
from jobs.models import Industry
from marketplace import sample_data, urls
from marketplace.measuring import NAMES
from rating.models import Review

pytestmark = pytest.mark.once

View = Callable[[HttpRequest], HttpResponseBase]

MANAGE = Path(urls.__file__).resolve().parent.parent / "manage.py"

# Two versions' figures in one cell: "143 -> 3".
PAIR = r"([\d.]+) -> ([\d.]+)"
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ROW = re.compile(
    rf"^ */(\S+) +{PAIR} +{PAIR} +{PAIR}(?: +{PAIR})? +{PAIR} +{PAIR} +(\d+) +(\S+) *$"
)


# Each makes rich take any output for a terminal, or for one of another width.
RICH_VARIABLES = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS")


@pytest.fixture(autouse=True)
def _plain_output(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in RICH_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def with_optimised(name: str, view: View) -> list[URLResolver]:
    """Return the marketplace's URLconf with another view for one optimised endpoint."""
    optimised = [
        path(name, view, name=name) if pattern.name == name else pattern
        for pattern in urls.optimised
    ]
    return [
        path("naive/", include((urls.naive, "naive"))),
        path("", include((optimised, "optimised"))),
    ]


class Exceeding:
    """A URLconf whose optimised reviews are the naive ones: the same JSON, too many queries."""

    urlpatterns = with_optimised("reviews", rating.views_naive.reviews)


def other_reviews(request: HttpRequest) -> HttpResponse:
    """Answer with something else."""
    return JsonResponse({"count": Review.objects.count()})


class Differing:
    """A URLconf whose optimised reviews answer with something else, at one query."""

    urlpatterns = with_optimised("reviews", other_reviews)


class Broken:
    """A URLconf whose optimised job details refuse every job."""

    urlpatterns = with_optimised("job-details", lambda request: HttpResponse(status=503))


def demo(**options: object) -> str:
    output = StringIO()
    call_command("demo", stdout=output, stderr=StringIO(), **{"rounds": 1, **options})
    return output.getvalue()


@cache
def demo_of_the_marketplace() -> str:
    """Return what it prints with nothing changed, which three tests look at."""
    return demo()


def rows_of(output: str) -> dict[str, tuple[str, ...]]:
    rows = [match.groups() for line in output.splitlines() if (match := ROW.match(line))]
    return {row[0]: row[1:] for row in rows}


@pytest.fixture
def own_database(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a process with an empty SQLite database of its own."""
    given = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DATABASE_URL", "REDIS_URL", *RICH_VARIABLES)
    }
    root = MANAGE.parent.parent
    return {
        **given,
        "MARKETPLACE_DB": str(tmp_path / "demo.sqlite3"),
        "MARKETPLACE_OTHER_DB": str(tmp_path / "other.sqlite3"),
        "DJANGO_SETTINGS_MODULE": "marketplace.settings",
        "PYTHONPATH": f"{root}{os.pathsep}{tmp_path}",
    }


COMMAND = [sys.executable, str(MANAGE), "demo", "--rounds", "1", "--scale", "0.2"]


def run(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        COMMAND, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_from_nothing_it_prints_the_table_as_plain_text(own_database: dict[str, str]) -> None:
    process = run(own_database)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    assert "\x1b" not in process.stdout
    assert list(rows_of(process.stdout)) == list(NAMES)
    again = run(own_database)
    assert again.returncode == 0, again.stderr
    assert "has data already: nothing done" in again.stdout


def test_on_a_terminal_it_shows_its_progress_and_fits_eighty_columns(
    own_database: dict[str, str],
) -> None:
    ours, theirs = pty.openpty()
    environment = {**own_database, "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(
        COMMAND, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        output = _read_all(ours)
    assert process.returncode == 0, output
    assert "Filling: " in output
    assert "Measuring: " in output
    lines = [ESCAPE.sub("", line) for line in output.splitlines()]
    assert list(rows_of("\n".join(lines))) == list(NAMES)
    assert max(len(line) for line in lines if ROW.match(line)) <= 80


def _read_all(terminal: int) -> str:
    read = b""
    with os.fdopen(terminal, "rb", buffering=0) as stream, suppress(OSError):
        # Linux ends a terminal that nobody holds any more with an error.
        while some := stream.read(4096):
            read += some
    return read.decode()


def test_it_runs_on_a_real_postgresql_and_redis(
    own_database: dict[str, str], postgres_url: str, redis_url: str
) -> None:
    name = f"querybudget_demo_{os.getpid()}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            url = urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
            process = run({**own_database, "DATABASE_URL": url, "REDIS_URL": redis_url})
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    assert process.returncode == 0, process.stderr
    assert list(rows_of(process.stdout)) == list(NAMES)
    assert not Path(own_database["MARKETPLACE_DB"]).exists()


def test_the_process_exits_with_1_if_an_optimised_endpoint_exceeds_its_budget(
    own_database: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "exceeding.py").write_text(
        'from marketplace.settings import *\nROOT_URLCONF = "exceeding_urls"\n'
    )
    (tmp_path / "exceeding_urls.py").write_text(
        "from django.urls import include, path\n"
        "from marketplace.urls import naive\n"
        "urlpatterns = [\n"
        '    path("naive/", include((naive, "naive"))),\n'
        '    path("", include((naive, "optimised"))),\n'
        "]\n"
    )
    process = run({**own_database, "DJANGO_SETTINGS_MODULE": "exceeding"})
    assert process.returncode == 1
    assert "/alljobs exceeds its budget: max_queries is " in process.stderr
    assert rows_of(process.stdout)["alljobs"][-1] == "NO"


@pytest.mark.django_db
@pytest.mark.usefixtures("small_marketplace")
class TestTable:
    """What the table says, and what makes the command fail."""

    def test_each_endpoint_keeps_to_its_budget(self) -> None:
        rows = rows_of(demo_of_the_marketplace())
        assert list(rows) == list(NAMES)
        for naive, optimised, *_, budget, within in rows.values():
            assert int(naive) >= 10
            assert 1 <= int(optimised) <= 3
            assert (budget, within) == ("3", "yes")

    def test_shapes_and_duplicates_are_those_of_the_queries(self) -> None:
        queries, _, shapes, _, duplicates, *_ = rows_of(demo_of_the_marketplace())["alljobs"]
        # Twenty rows ask the same seven questions; some of them for the same client.
        assert int(queries) > 100
        assert int(shapes) <= 12
        assert 0 < int(duplicates) < int(queries) - int(shapes)

    def test_naive_endpoints_have_loops_and_lines_to_write(self) -> None:
        output = demo_of_the_marketplace()
        rows = rows_of(output)
        for name, (*_, before, after, _, _, _, _, _, _) in rows.items():
            assert int(before) > 0
            assert int(after) == 0
            assert f"\n/naive/{name}\n" in output
        assert output.count("      Write, ") >= len(NAMES)
        assert 'Payment.objects.select_related("payer__profile", "recipient__profile")' in output

    @override_settings(ROOT_URLCONF=Exceeding)
    def test_an_exceeded_budget_is_an_error(self) -> None:
        output = StringIO()
        with pytest.raises(CommandError) as failure:
            call_command("demo", rounds=1, stdout=output)
        assert failure.value.returncode == 1
        assert re.fullmatch(
            r"/reviews exceeds its budget: max_queries is \d+, 3 allowed\.", str(failure.value)
        )
        rows = rows_of(output.getvalue())
        assert {name for name, row in rows.items() if row[-1] == "NO"} == {"reviews"}

    @override_settings(ROOT_URLCONF=Differing)
    def test_different_json_is_an_error(self) -> None:
        with pytest.raises(CommandError) as failure:
            demo()
        assert str(failure.value) == "/naive/reviews and /reviews answer with different JSON."

    @override_settings(ROOT_URLCONF=Broken)
    def test_another_status_is_an_error(self) -> None:
        with pytest.raises(CommandError, match="/job-details answered 503"):
            demo()

    @override_settings(QUERYBUDGET={"HEADERS": False})
    def test_a_missing_header_is_an_error(self) -> None:
        with pytest.raises(CommandError, match="/alljobs sent no X-Query-Count: is QueryBudget"):
            demo()

    def test_a_header_that_disagrees_is_an_error(self) -> None:
        # A middleware above the library's: its query is captured, but not in the header.
        middleware = [f"{__name__}.query_outside", *settings.MIDDLEWARE]
        with (
            override_settings(MIDDLEWARE=middleware),
            pytest.raises(CommandError, match=r"/reviews sent X-Query-Count: 2, but 3 queries"),
        ):
            demo()

    @pytest.mark.parametrize("rounds", [0, -1])
    def test_no_rounds_are_refused(self, rounds: int) -> None:
        with pytest.raises(CommandError, match=f"--rounds must be 1 or more, not {rounds}"):
            demo(rounds=rounds)


def query_outside(get_response: View) -> View:
    """Make a query before the measured part of the request."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        Review.objects.exists()
        return get_response(request)

    return middleware


@pytest.mark.django_db
def test_data_without_a_user_is_said_so() -> None:
    sample_data.clear()
    Industry.objects.create(name="Garden")
    with pytest.raises(CommandError, match=r"has no users: run fill --reset"):
        demo()
