"""The line to write for a loop, and where: a module for each cause, chosen by :mod:`.on_queryset`.

What a queryset lacks is collected in a *draft* (:mod:`.drafts`); :mod:`.relation`,
:mod:`.deferred`, :mod:`.related_query` and :mod:`.bypassed` add to it. What no relation leads to
stands where its loop does: :mod:`.lookup` and :mod:`.write`, by :mod:`.own_fixes`.
"""
