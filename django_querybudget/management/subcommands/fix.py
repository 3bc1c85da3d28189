"""``manage.py querybudget fix -- test …``: suggested lines, written and proved."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError

HELP = (
    "Run the tests, write the suggested lines into a copy of the project, and prove them: fewer "
    "queries, the same answers, passing tests. Prints a diff; changes nothing without --apply."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--apply",
        action="store_true",
        help="write what is proved into the project, where git says that the files are clean",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--diff", metavar="PATH", help="write the diff to this file")
    parser.add_argument(
        "--time-limit",
        metavar="SECONDS",
        type=float,
        help="stop after so many seconds, with what is proved by then",
    )
    parser.add_argument(
        "test", nargs=argparse.REMAINDER, help="-- test [arguments], or -- pytest [arguments]"
    )


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    """Prove, and print. Raises ``CommandError`` with status 2 where nothing can be proved.

    Status 1 says that files were not written that ``--apply`` was asked to write.
    """
    # Here, not above: no other subcommand has a use for it.
    from django_querybudget.patches.copying import project_root
    from django_querybudget.patches.proving import Proof
    from django_querybudget.patches.report import as_data, as_text, diff_of
    from django_querybudget.patches.unwritable import CannotProve

    suite = _suite(options["test"])
    root = project_root(Path.cwd())

    def tell(line: str) -> None:
        if not options["json"] and options["verbosity"] > 0:
            command.stdout.write(line)

    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # The copy is removed then.
    try:
        with Proof(root, suite, seconds=options["time_limit"], tell=tell) as proof:
            proof.run()
            diff = diff_of(proof)
            if options["diff"]:
                Path(options["diff"]).write_bytes(diff)
            if options["json"]:
                command.stdout.write(json.dumps(as_data(proof), indent=2))
            else:
                command.stdout.write(f"\n{as_text(proof)}")
                if diff:
                    command.stdout.write(f"\n{diff.decode('utf-8', 'replace')}", ending="")
            refused = _apply(command, root, proof) if options["apply"] else {}
    except CannotProve as error:
        raise CommandError(str(error), returncode=2) from error
    finally:
        signal.signal(signal.SIGTERM, before)
    if refused:
        raise CommandError("Not all that is proved was written.", returncode=1)


def _suite(words: list[str]) -> Any:
    from django_querybudget.patches.rehearsals import Suite

    given = [word for position, word in enumerate(words) if position or word != "--"]
    if given[:1] not in (["test"], ["pytest"]):
        raise CommandError(
            "Say which tests after two dashes: manage.py querybudget fix -- test [arguments], or "
            "manage.py querybudget fix -- pytest [arguments]",
            returncode=2,
        )
    program = Path(sys.argv[0])
    started = (str(program.resolve()),) if program.name == "manage.py" else ("-m", "django")
    return Suite(given[0], tuple(given[1:]), started)


def _apply(command: BaseCommand, root: Path, proof: Any) -> dict[str, str]:
    """Write the files of the patches all of whose files may be written; return the others."""
    from django_querybudget.patches.working_tree import apply, refusals

    after = proof.files()
    before = {path: proof.before(path) for path in after}
    refused = refusals(root, before)
    # A patch is one whole: with one file of it refused, the others get nothing of it either.
    kept = [each for each in proof.proved if not set(each.patch.paths) & refused.keys()]
    after = proof.files(kept)
    apply(root, before, after)
    for path in after:
        command.stderr.write(f"Wrote {path}.")
    for path, why in refused.items():
        command.stderr.write(f"Not written: {path}: {why}.")
    return refused
