"""``try``: one run of a project that does not have this library, with nothing of it edited.

How it gets in
    A project finds its settings in one of many ways: an environment variable, an option, a line of
    ``manage.py``, pytest's configuration, a class. They all end in one of the two classes of
    ``django.conf`` that hold settings. In the processes of the run, and in no others, each of these
    is replaced by a subclass of itself that adds our app and middleware to what is assigned
    (:mod:`.settings_classes`). Outside of the processes of ``try`` and ``fix`` nothing of Django's
    classes is replaced; on single objects, what CONTRIBUTING names (*What is replaced*).

    How a process comes to do so: the folder of the run stands on ``PYTHONPATH``, with a
    ``sitecustomize.py``, which every Python imports when it starts (:mod:`.launching`). So the
    processes that the run starts (xdist's workers, those of ``--parallel``, the one that
    ``runserver`` reloads) are looked at, too.

What is kept
    Each process appends what it saw (:mod:`.collecting`) to a file of its own in that folder, of
    bounded size (:mod:`.notes`). When the run is over, the parent merges the files
    (:mod:`.trial`), and writes them as a page (:mod:`.page`), as JSON or as HTML
    (:mod:`.documents`).

``--rows``
    A loop shows where there are rows. A second run, whose outcome counts for nothing, answers each
    request for a list of few rows once more, in a transaction that is rolled back, with copies of
    those rows in the tables (:mod:`.growing`, :mod:`.copying`).
"""
