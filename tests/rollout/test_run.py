"""What the verbs share, as far as it can be seen without a host."""

from __future__ import annotations

from typing import Any

import pytest

from dsdeploy import hosts
from dsdeploy.errors import GateError, LockHeld
from dsdeploy.facts import Epoch, Srvr
from dsdeploy.rollout import run
from dsdeploy.site import Site

from .conftest import reading


def test_a_site_that_changed_after_it_was_read_is_not_acted_on(lab_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: reading(name, Epoch(4, "a")) for name in lab_site.hosts}
    after: dict[str, Any] = dict(before)
    monkeypatch.setattr(hosts, "read", lambda site, *kinds, names=None: after)
    run._unchanged(lab_site, before, ())
    after["gpu2"] = reading("gpu2", Epoch(5, "b"))
    with pytest.raises(LockHeld, match="run b changed the site"):
        run._unchanged(lab_site, before, ())


def test_without_a_quorum_only_up_goes_on(lab_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = {name: reading(name, Srvr(False, error="silent")) for name in lab_site.with_role("zookeeper")}
    monkeypatch.setattr("dsdeploy.rolling.ELECTION_SECONDS", 0.0)
    monkeypatch.setattr(hosts, "read", lambda site, *kinds, names=None: lost)
    assert run.members(lab_site, lost, "up") == ()
    with pytest.raises(GateError, match="no quorum") as refused:
        run.members(lab_site, lost, "upgrade")
    assert refused.value.exit_code == 5 and "dsdeploy status SITE" in refused.value.hint


def test_where_keys_lie_is_no_part_of_what_the_site_asks_for(lab_site: Site) -> None:
    elsewhere = lab_site.model_copy(update={"ssh": lab_site.ssh.model_copy(update={"port": 2222})})
    other = lab_site.model_copy(update={"router": lab_site.router.model_copy(update={"port": 9000})})
    assert run.digest(lab_site) == run.digest(elsewhere) != run.digest(other)
