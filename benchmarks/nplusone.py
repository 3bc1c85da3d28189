"""Who finds the N+1 queries of the corpus, who cries wolf, and what it costs.

Run: ``python benchmarks/nplusone.py [--rounds N]``; 0 measures no times. Peers that are not
installed are left out by name: django-zeal, nplusone, django-nplus1. Each tool runs in processes of
its own, since the peers patch Django for good; the corpus is ``tests/nplusone``, the threshold 3
for all that have one.

*Recall*: the share of the cases with an N+1 in which the tool says anything. *Precision*: the
share of the cases in which it says anything that have one. *Named*: the share of the relations and
deferred fields to be found that it names, model and field. *Overhead*: the processor's time of a
clean page of 20 queries and of a loop of 100 lazy loads, watched over not watched, in one process;
median of the repeats, and of the rounds. For ours that is the recording and the reading of stacks;
``analysed`` has the search of the log for loops and the text of the lines on top.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import json
import os
import random
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from time import thread_time
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Without this folder: this file would hide the package of the same name.
sys.path[:1] = [str(ROOT), str(ROOT / "testproject")]

TOOLS = {
    "none": None,
    "django-querybudget": "django_querybudget",
    "analysed": "django_querybudget",
    "django-zeal": "zeal",
    "nplusone": "nplusone.ext.django",
    "django-nplus1": "django_nplus1",
}
QUERIES, LOADS, REPEATS = 20, 100, 31
Alarm = tuple[str, str]
"""Model and field that an alarm names."""


def set_up(tool: str) -> None:
    """Configure Django with the corpus' models and the tool under test, and fill the database."""
    import django
    from django.conf import settings

    django_apps = [f"django.contrib.{name}" for name in ("contenttypes", "auth", "sessions")]
    apps = [*django_apps, "rest_framework"]
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=[*apps, "tests.nplusone", *filter(None, [TOOLS[tool]])],
        TEMPLATES=[
            {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
        ],
        USE_TZ=True,
        ROOT_URLCONF="tests.nplusone.cases_views",
        ZEAL_RAISE=False,
        ZEAL_NPLUSONE_THRESHOLD=3,
        NPLUS1_THRESHOLD=3,
        NPLUS1_GET_THRESHOLD=3,
        NPLUS1_DUPLICATE_QUERY_THRESHOLD=3,
    )
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from tests.nplusone.data import fill

    fill()


@contextmanager
def ours() -> Iterator[list[Alarm]]:
    from django_querybudget import capture_queries
    from django_querybudget.nplusone import find_nplusone

    alarms: list[Alarm] = []
    with capture_queries() as log:
        yield alarms
    alarms += (split(finding.relation) for finding in find_nplusone(log))


def split(relation: str) -> Alarm:
    """Return model and field; of ``Book.tags.through.book`` the model as Django calls it."""
    model, _, name = relation.rpartition(".")
    return model.replace(".through", "").replace(".", "_") or name, name if model else ""


@contextmanager
def zeal() -> Iterator[list[Alarm]]:
    from zeal import zeal_context
    from zeal.signals import nplusone_detected

    alarms: list[Alarm] = []

    def note(sender: Any, exception: Exception, **more: Any) -> None:
        del sender, more
        words = str(exception).split(" detected on ")[-1].split(" ")[0].split(".")
        alarms.append((words[-2] if len(words) > 1 else words[0], words[-1]))

    nplusone_detected.connect(note)
    try:
        with warnings.catch_warnings(), zeal_context():
            warnings.simplefilter("ignore")
            yield alarms
    finally:
        nplusone_detected.disconnect(note)


@contextmanager
def nplusone() -> Iterator[list[Alarm]]:
    from nplusone.core.profiler import Profiler

    alarms: list[Alarm] = []

    class Collector(Profiler):  # type: ignore[misc]  # nplusone has no types
        def notify(self, message: Any) -> None:
            alarms.append((getattr(message.model, "__name__", str(message.model)), message.field))

    with Collector():
        yield alarms


@contextmanager
def django_nplus1() -> Iterator[list[Alarm]]:
    from django_nplus1 import DetectionContext

    alarms: list[Alarm] = []

    class Collector:
        def notify(self, message: Any) -> None:
            alarms.append((getattr(message.model, "__name__", str(message.model)), message.field))

    with DetectionContext(notifiers=[Collector()]):
        yield alarms


WATCHES: dict[str, Callable[[], AbstractContextManager[list[Alarm]]]] = {
    "none": lambda: nullcontext([]),
    "django-querybudget": ours,
    "analysed": ours,
    "django-zeal": zeal,
    "nplusone": nplusone,
    "django-nplus1": django_nplus1,
}


@contextmanager
def recording() -> Iterator[None]:
    from django_querybudget import capture_queries

    with capture_queries():
        yield


# What a request pays; the log is searched for loops when its scope is over.
RECORDS: dict[str, Callable[[], AbstractContextManager[Any]]] = {"django-querybudget": recording}


def alarms_of(tool: str) -> dict[str, list[Alarm]]:
    """Run every case of the corpus under a tool."""
    from asgiref.sync import async_to_sync
    from django.db import transaction

    from tests.nplusone.cases_all import MODULES
    from tests.nplusone.corpus import CASES, Run

    assert MODULES
    found = {}
    for case in CASES.values():
        call: Any = case.function
        if inspect.iscoroutinefunction(call):
            call = async_to_sync(call)
        if case.allow or case.name.startswith("ignored_"):
            continue  # Every tool has an allowlist of its own kind.
        with transaction.atomic():
            with WATCHES[tool]() as alarms:
                call(Run())
            transaction.set_rollback(True)
        found[case.name] = alarms
    return found


def seconds_of(tool: str) -> dict[str, float]:
    """Return the time of a clean page and of a loop of lazy loads under a tool."""
    from tests.nplusone.models import Author, Book, Publisher

    publisher = Publisher.objects.create(name="large")
    for number in range(LOADS):
        author = Author.objects.create(name=str(number), publisher=publisher)
        Book.objects.create(title=str(number), isbn=f"large-{number}", author=author)
    page = [compile_query(Book, number) for number in range(QUERIES)]

    def clean_page() -> None:
        for query in page:
            query()

    def lazy_loop() -> None:
        for book in Book.objects.filter(isbn__startswith="large-"):
            assert book.author

    watch = RECORDS.get(tool, WATCHES[tool])
    result = {}
    for block in (clean_page, lazy_loop):
        ratios = []
        for repeat in range(REPEATS):
            seconds = {}
            for watched in random.sample((True, False), 2):
                gc.collect()
                gc.disable()
                # The processor's time of this thread: other processes do not count.
                started = thread_time()
                with watch() if watched else nullcontext():
                    block()
                seconds[watched] = thread_time() - started
                gc.enable()
            if repeat:
                ratios.append(seconds[True] / seconds[False])
        result[block.__name__] = statistics.median(ratios)
    return result


def compile_query(model: Any, number: int) -> Callable[[], Any]:
    """Return a function, of its own line and shape, that reads a few rows."""
    names = ["title", "isbn", "status", "blurb", "pk"]
    order = f"{names[number % 5]!r}, {names[number // 5]!r}"
    source = "\n" * number + f"query = lambda: list(Book.objects.order_by({order})[:5])"
    space = {"Book": model}
    exec(compile(source, str(ROOT / "benchmarks" / "page.py"), "exec"), space)  # noqa: S102 - our own text
    return space["query"]


def child(tool: str, *, corpus: bool) -> dict[str, Any]:
    """Run one tool in a process of its own."""
    command = [sys.executable, __file__, "--tool", tool, *(["--corpus"] if corpus else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no output"
        return {"error": reason}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def table(alarms: dict[str, Any], seconds: dict[str, list[dict[str, float]]]) -> list[str]:
    """Return the table, in Markdown."""
    lines = ["| tool | recall | precision | named | clean page | 100 lazy loads |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    expected = alarms["django-querybudget"]["expected"]
    for tool in list(TOOLS)[1:]:
        answer = alarms[tool]
        if "error" in answer:
            lines.append(f"| {tool} | does not run: {answer['error'][:60]} | | | | |")
            continue
        found = answer["alarms"]
        guilty = [name for name in found if expected[name]]
        hits = sum(bool(found[name]) for name in guilty)
        wolf = sum(bool(found[name]) for name in found if not expected[name])
        wanted = [(name, *split(each)) for name in guilty for each in expected[name] if "." in each]
        named = sum(
            [model, relation] in [list(alarm) for alarm in found[name]]
            for name, model, relation in wanted
        )
        cost = [
            f"{statistics.median(each[block] for each in seconds[tool]):.3f}"
            if seconds[tool]
            else ""
            for block in ("clean_page", "lazy_loop")
        ]
        lines.append(
            f"| {tool} | {hits}/{len(guilty)} ({hits / len(guilty):.0%}) | "
            f"{hits}/{hits + wolf} ({hits / (hits + wolf or 1):.0%}) | "
            f"{named}/{len(wanted)} ({named / len(wanted):.0%}) | "
            f"{cost[0]} | {cost[1]} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tool", choices=TOOLS)
    parser.add_argument("--corpus", action="store_true")
    options = parser.parse_args()
    if options.tool:
        set_up(options.tool)
        if options.corpus:
            from tests.nplusone.corpus import CASES

            alarms = alarms_of(options.tool)
            expected = {name: [each.relation for each in CASES[name].expected] for name in alarms}
            print(json.dumps({"alarms": alarms, "expected": expected}))
        else:
            print(json.dumps(seconds_of(options.tool)))
        return
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    alarms = {tool: child(tool, corpus=True) for tool in list(TOOLS)[1:]}
    seconds: dict[str, list[dict[str, float]]] = {tool: [] for tool in TOOLS}
    running = [tool for tool in TOOLS if "error" not in alarms.get(tool, {})]
    for _ in range(options.rounds):
        for tool in random.sample(running, len(running)):
            seconds[tool].append(child(tool, corpus=False))
    print("\n".join(table(alarms, seconds)))
    for tool, answer in alarms.items():
        if "error" not in answer:
            missed = [n for n, e in answer["expected"].items() if e and not answer["alarms"][n]]
            wolf = [n for n, e in answer["expected"].items() if not e and answer["alarms"][n]]
            print(f"\n{tool}\n  missed: {', '.join(missed) or 'none'}")
            print(f"  false alarms: {', '.join(wolf) or 'none'}")


if __name__ == "__main__":
    main()
