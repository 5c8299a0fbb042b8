"""Example sites, one for each way a runtime is started; each with the wheels it names, empty."""

from __future__ import annotations

import shutil

import pytest

from dsdeploy.site import Site, load

from .examples import HERE

SITES = sorted((HERE / "sites").glob("*.yml"))
WHEELS = ("vllm-0.33.0-cp38-abi3-manylinux_2_28_x86_64.whl", "sglang-0.5.23-cp311-cp311-manylinux_2_34_x86_64.whl",
          "torch-2.14.0-cp312-cp312-manylinux_2_28_x86_64.whl", "pip-26.2-py3-none-any.whl")  # fmt: skip


@pytest.fixture(scope="session", params=SITES, ids=lambda path: path.stem)
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Loaded from a folder of its own, where its wheelhouse is."""
    folder = tmp_path_factory.mktemp(request.param.stem)
    (folder / "wheels").mkdir()
    for name in WHEELS:
        (folder / "wheels" / name).touch()
    return load(shutil.copy(request.param, folder / "site.yml"))
