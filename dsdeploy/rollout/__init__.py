"""Replacing the release that serves, without a failed request: the loop, its gates, and the way back.

    run.py       a run under the lock: begin, the loop, observe, end
    prepared.py  all that is done while the old release serves
    loop.py      forward, batch by batch; back, when anything says no
    moves.py     the atomic steps the loop is made of
    gates.py     what must hold before the next step
    target.py    a release as something that can be started: from the site file, or from the hosts
    undo.py      taking back a run that was left unfinished

What is decided without a host is in dsdeploy/releases/.
"""
