"""Stacks as data, and the judge of whether one can run on a host. Pure: no host is asked here.

`stacks.yml` and `models.yml` beside this package hold the facts; `matrix()` and `catalogue()` read them
once, when first asked for.
"""

from __future__ import annotations

from dsdeploy.stacks.data import matrix
from dsdeploy.stacks.host import Gpu, Host
from dsdeploy.stacks.judge import judge
from dsdeploy.stacks.memory import fits
from dsdeploy.stacks.models import catalogue
from dsdeploy.stacks.pairs import pair
from dsdeploy.stacks.shapes import Matrix, Profile
from dsdeploy.stacks.verdict import Verdict, worst

__all__ = [
    "Gpu",
    "Host",
    "Matrix",
    "Profile",
    "Verdict",
    "catalogue",
    "fits",
    "judge",
    "matrix",
    "pair",
    "worst",
]
