"""Replacing the release that serves, without a failed request: the loop, its gates, and the way back.

run.py       a run under the lock: begin, the loop, observe, end
loop.py      forward, batch by batch; back, when anything says no
moves.py     the atomic steps the loop is made of
gates.py     what must hold before the next step
strategy.py  how: side by side, in turn, in which batches; and why (pure)
target.py    a release as something that can be started: from the site file, or from the hosts
view.py      where every release is, what takes requests (pure)
recover.py   runs that were left unfinished, and what rollback returns to (pure)
"""
