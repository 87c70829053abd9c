"""``reconciler conformance``: takes any scheduler through a script of changes and says which rules it keeps.

It knows a scheduler only by what it writes to the store: ``run`` plays a source and some hosts, ``script`` says what
happens to them, ``audit_records`` and ``audit_steps`` judge every picture of the store that was taken meanwhile.
"""
