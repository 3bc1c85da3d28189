"""The ratchet: what every view executes, recorded in ``querybudget.toml`` and held from then on.

A test run collects (:mod:`.collecting`) a line (:mod:`.lines`) for each view and each marked test;
the lines are compared (:mod:`.comparison`) with those of the file (:mod:`.lockfile`), and what
differs is told (:mod:`.text`, :mod:`.sarif`). :mod:`.runs` is what the pytest plugin and the
management command have in common.

Two versions of the file (:mod:`.versions`) are compared for a pull request (:mod:`.difference`,
:mod:`.markdown`) and merged for git (:mod:`.merging`).
"""
