"""What Python decides between weights and build, as JSON: ``decide.py SITE_FILE WEIGHTS_DIGEST PYTHON GLIBC``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dsdeploy import release, wheelhouse
from dsdeploy.site import load

site_file, digest, python, glibc = sys.argv[1:]
site = load(Path(site_file))
chosen = release.decide(site, digest)
wheels = wheelhouse.ensure(release.requirements(site.engine.runtime), python, glibc=glibc)
json.dump(
    {
        "engine_weights_digest": chosen.weights_digest,
        "engine_build_key": chosen.build_key,
        "engine_release": chosen.id,
        "engine_settings": chosen.settings,
        "engine_wheelhouse": str(wheels),
        "engine_colour": "blue",
    },
    sys.stdout,
)
