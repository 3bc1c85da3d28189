"""The project's source, read and never run: the expression that ran a query (:mod:`.calls`), the
loop around it, what starts a queryset, what a name means. ``stacks.source_files`` reads the files.
"""
