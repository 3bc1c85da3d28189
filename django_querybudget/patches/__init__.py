"""From a finding to a proved patch: ``manage.py querybudget fix``.

A *patch* is the suggested line as edits of files, by exact columns (:mod:`.writing`). A *rehearsal*
runs the tests on a copy of the project with patches written into it (:mod:`.rehearsals`), in a
child process that keeps a *journal* (:mod:`.journal`): the queries of each view, each answer that a
test client received, each test's outcome. A *verdict* compares it with two runs of the unpatched
copy (:mod:`.verdicts`); what fails is withdrawn (:mod:`.proving`). The project itself is written to
by :mod:`.working_tree` alone, and only if that was asked for.
"""
