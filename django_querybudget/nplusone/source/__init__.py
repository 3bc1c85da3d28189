"""The project's source, read and never run: what stands at a place (:mod:`.files`), the expression
that ran a query (:mod:`.calls`), the loop around it, what starts a queryset, what a name means.
"""
