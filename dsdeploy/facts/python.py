"""The Python that programs on a host are started with: the one Ansible uses there, through a link of the host role."""

from __future__ import annotations

LINK = "/usr/local/lib/dsdeploy/python3"
# a word of a shell command; a host that no run has prepared since there is such a link has none
PYTHON = f'"$([ -x {LINK} ] && echo {LINK} || echo python3)"'
