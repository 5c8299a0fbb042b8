"""Which release is where, what happened to it, and how another can take its place. Pure: readings in, values out.

view.py      where every release is, and which takes requests
recover.py   what the hosts' journals say of runs: one left unfinished, what a rollback returns to
strategy.py  side by side or in turn, in which batches, and why
"""
