"""What the files hold with patches in them: :class:`PatchedFiles`."""

from __future__ import annotations

from collections.abc import Iterable

from .copying import ScratchCopy
from .edits import Edit
from .formatting import Formatter, line_length
from .patch import Patch
from .rendering import patched
from .source_text import SourceText

__all__ = ["PatchedFiles"]


class PatchedFiles:
    """Writes patches as text, as the rest of each file is formatted."""

    def __init__(self, copy: ScratchCopy) -> None:
        self._copy = copy
        self._width = line_length(copy.tree)
        self._formatter = Formatter(copy.tree)
        self._texts: dict[tuple[str, tuple[Edit, ...]], bytes] = {}

    def files(self, patches: Iterable[Patch]) -> dict[str, bytes]:
        """Return the files with ``patches`` in them, by path.

        Raises :class:`~.edits.Contradiction`, ``SyntaxError`` and ``UnicodeEncodeError``.
        """
        edits = [edit for patch in patches for edit in patch.edits]
        files: dict[str, bytes] = {}
        for path in dict.fromkeys(edit.path for edit in edits):
            own = tuple(edit for edit in edits if edit.path == path)
            if (path, own) not in self._texts:
                self._texts[path, own] = self._text(path, own)
            files[path] = self._texts[path, own]
        return files

    def lines_of(self, patch: Patch, path: str) -> set[int]:
        """Return the lines of a file, as it was, that a patch changes; but for its imports."""
        text = SourceText(self._copy.of(path)).text
        edits = [each for each in patch.edits if each.path == path and not each.imports]
        return {
            line
            for each in edits
            for line in range(
                text.count("\n", 0, each.start) + 1, text.count("\n", 0, each.end) + 2
            )
        }

    def _text(self, path: str, edits: tuple[Edit, ...]) -> bytes:
        before = self._copy.of(path)
        source = SourceText(before)
        flat = source.encoded(patched(source, edits, 0))
        formatted = self._formatter.formatted(path, before, flat)
        if formatted is not None:
            return formatted
        return source.encoded(patched(source, edits, self._width))
