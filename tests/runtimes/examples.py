"""Where the examples are, and how the programs on hosts are loaded."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
FILES = HERE.parents[1] / "roles" / "engine" / "files"


def program(runtime: str, name: str) -> ModuleType:
    """One of a runtime's programs on hosts, whose modules import each other flat, as they lie there."""
    folders = [FILES / runtime / "server", FILES / "supervise", FILES / "llamacpp" / "server"]
    flat = {path.stem for folder in folders for path in folder.glob("*.py")}
    kept = {module: sys.modules.pop(module) for module in flat & set(sys.modules)}
    before = sys.path[:]
    sys.path[:0] = [str(folder) for folder in folders]
    try:
        spec = importlib.util.find_spec(name)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path[:] = before
        for module_name in flat:
            sys.modules.pop(module_name, None)
        sys.modules.update(kept)
