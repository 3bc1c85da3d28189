"""The scratch copy of a project, in which patches are tried: :class:`ScratchCopy`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from django_querybudget.ratchet.git import MOST_SECONDS, git

from .unwritable import CannotProve

__all__ = ["ScratchCopy", "project_root"]

_MOST_FILES = 100_000
_MOST_BYTES = 2_000_000_000
_SMALL = 1_000_000
"""Bytes of a file that git ignores and that is copied all the same: ``.env``, local settings."""
_MOST_IGNORED = 2_000
"""Files of a folder that git ignores; of a larger one nothing is copied."""
_LEFT_OUT = {
    ".git", ".hg", ".tox", ".nox", ".venv", "venv", "node_modules", "__pycache__", ".mypy_cache",
    ".pytest_cache", ".ruff_cache", ".querybudget",
}  # fmt: skip


def project_root(folder: Path) -> Path:
    """Return the root of the git repository that ``folder`` is in; without git, itself."""
    found = _git(folder, "rev-parse", "--show-toplevel")
    return Path(found.decode().strip()).resolve() if found else folder.resolve()


class ScratchCopy:
    """A copy of the files below ``root``, in a folder of its own; removed by :meth:`remove`.

    Copied is what git knows, and what it neither knows nor ignores; without git everything but
    environments and caches. Raises :class:`~.unwritable.CannotProve` for a tree that is too large,
    and where ``deadline`` comes first, by ``time.monotonic()``.
    """

    def __init__(self, root: Path, *, deadline: float | None = None) -> None:
        self.root = root
        self._deadline = deadline
        self.folder = Path(tempfile.mkdtemp(prefix="querybudget-fix-")).resolve()
        self.tree = self.folder / root.name
        self.contents: dict[str, bytes] = {}
        """What the patched files hold in the project, by path."""
        self._submodules = _submodules(root)
        try:
            self._copy()
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Delete it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def submodule_of(self, path: str) -> str:
        """Return the submodule of git that a file is in; empty if it is in none."""
        inside = (each for each in self._submodules if path.startswith(f"{each}/"))
        return next(inside, "")

    def of(self, path: str) -> bytes:
        """Return what a file held when it was copied."""
        if path not in self.contents:
            self.contents[path] = (self.tree / path).read_bytes()
        return self.contents[path]

    def write(self, files: Mapping[str, bytes]) -> None:
        """Let the copy hold ``files``, and of all others what the project has."""
        for path in self.contents.keys() | files.keys():
            data = files.get(path, self.of(path))
            target = self.tree / path
            if target.read_bytes() != data:
                target.write_bytes(data)

    def environment(self) -> dict[str, str]:
        """Return the environment of a child that is to import the project from the copy.

        Nothing is compiled to ``.pyc`` files beside the project's own sources.
        """
        paths = [self._moved(each) for each in _import_paths(self.root)]
        given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        paths += [self._moved(each) for each in given if each]
        inherited = {**os.environ}
        # The test that runs here is none of the child's, which tells its own by this name.
        inherited.pop("PYTEST_CURRENT_TEST", None)
        if inherited.get("PYTHONHASHSEED", "random") == "random":
            # One order of sets in all runs: REST framework's Allow header has it.
            inherited["PYTHONHASHSEED"] = "0"
        return {
            **inherited,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPYCACHEPREFIX": str(self.folder / "pycache"),
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        }

    def moved(self, word: str) -> str:
        """Return an argument of a command with the copy's path in place of the project's."""
        return self._moved(word) if Path(word).is_absolute() else word

    def _moved(self, path: str) -> str:
        real = os.path.realpath(path)
        if real == str(self.root) or real.startswith(f"{self.root}{os.sep}"):
            return str(self.tree / os.path.relpath(real, self.root))
        return path

    def _copy(self) -> None:
        total = 0
        for count, path in enumerate(_files(self.root)):
            source, target = self.root / path, self.tree / path
            if source.is_symlink() or not source.is_file():
                if source.is_symlink():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.symlink_to(source.readlink())
                continue
            total += source.stat().st_size
            if count >= _MOST_FILES or total > _MOST_BYTES:
                raise CannotProve(
                    f"{self.root} is too large to be copied: more than {_MOST_FILES:,} files or "
                    f"{_MOST_BYTES:,} bytes. Let .gitignore name what is no source."
                )
            if self._deadline is not None and time.monotonic() > self._deadline:
                raise CannotProve("The time limit came while the project was copied.")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def _files(root: Path) -> Iterator[str]:
    known = _git(root, "ls-files", "-z", "--cached", "--recurse-submodules")
    if known is None:
        yield from _walked(root, root)
        return
    others = _git(root, "ls-files", "-z", "--others", "--exclude-standard")
    if others is None:
        raise CannotProve(
            f"git did not list the untracked files of {root}, in {MOST_SECONDS} seconds at most: "
            "the copy would be without them. Try git status."
        )
    known += others
    yield from filter(None, known.decode(errors="surrogateescape").split("\0"))
    ignored = _git(
        root, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"
    )
    for path in filter(None, (ignored or b"").decode(errors="surrogateescape").split("\0")):
        if path.endswith("/"):
            yield from _ignored_below(root, path)
        elif (root / path).is_file() and (root / path).stat().st_size <= _SMALL:
            yield path


def _submodules(root: Path) -> list[str]:
    """Return the paths of the submodules of a repository; of those in submodules, the outer one."""
    staged = _git(root, "ls-files", "-z", "--stage") or b""
    entries = staged.decode(errors="surrogateescape").split("\0")
    return [each.partition("\t")[2] for each in entries if each.startswith("160000 ")]


def _ignored_below(root: Path, folder: str) -> list[str]:
    """Return the files of a folder that git ignores: what tests need and others make again.

    Collected static files, say. None of environments and caches, nor of a folder that is large.
    """
    found: list[str] = []
    for path in _walked(root, root / folder):
        if len(found) == _MOST_IGNORED:
            return []
        if (root / path).is_file() and (root / path).stat().st_size <= _SMALL:
            found.append(path)
    return found


def _walked(root: Path, start: Path) -> Iterator[str]:
    """Yield the files below a folder, but for those of environments and caches."""
    if start.name in _LEFT_OUT or (start / "pyvenv.cfg").exists():
        return
    for folder, folders, names in os.walk(start):
        folders[:] = [
            each
            for each in folders
            if each not in _LEFT_OUT and not Path(folder, each, "pyvenv.cfg").exists()
        ]
        for name in names:
            yield os.path.relpath(Path(folder, name), root)


def _import_paths(root: Path) -> Iterator[str]:
    """Yield the folders below ``root`` that this process imports from, or has imported from.

    An editable install may lead to modules by a finder of its own: an entry of the path precedes
    it.
    """
    for each in sys.path:
        if each and _is_below(each, root):
            yield each
    for name, module in tuple(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if "." in name or not isinstance(file, str) or not _is_below(file, root):
            continue
        folder = Path(file).parent
        yield str(folder.parent if Path(file).name.startswith("__init__.") else folder)


def _is_below(path: str, root: Path) -> bool:
    real = os.path.realpath(path)
    below = real == str(root) or real.startswith(f"{root}{os.sep}")
    return (
        below
        and not {"site-packages", "dist-packages"} & set(Path(real).parts)
        and not (real.startswith(f"{os.path.realpath(sys.prefix)}{os.sep}"))
    )


def _git(folder: Path, *arguments: str) -> bytes | None:
    done = git(*arguments, folder=folder)
    return done.stdout if done.returncode == 0 else None
