"""Everything known about one view in one place: ``manage.py querybudget explain``.

:mod:`.views` finds the view, a module for each subject asks what is known of it (:mod:`.budgets`,
:mod:`.counts`, :mod:`.production`, :mod:`.findings`, :mod:`.indexes`, :mod:`.caching`),
:mod:`.explanation` puts it together as plain data, by the schema in ``explanation.json``, and
:mod:`.text` writes it for people. What is not known is said, never 0: each part has ``unknown``, a
reason, empty where all is known.

Nothing is written: no file, no row, no entry of a cache.
"""
