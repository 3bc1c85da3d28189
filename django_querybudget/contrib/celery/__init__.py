"""Celery: each task's queries, by its name, against its budget and for the record of production::

    INSTALLED_APPS = [..., "django_querybudget", "django_querybudget.contrib.celery"]

A run of a task is measured from ``task_prerun`` to ``task_postrun``, in every pool and eagerly: its
own queries, those of its handlers (``on_success``, …) and of a result backend in the database. A
retry is a run of its own. A ``query_budget``, above or below the task's decorator, judges what the
task's function queries, and fails the task where it raises. Else its budget is that of ``"task
shop.tasks.send_invoices"`` in ``BUDGETS``: what exceeds it is logged, as N+1 queries are, since the
task's result is stored by then.

Needs the extra ``celery``.
"""
