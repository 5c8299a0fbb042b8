"""Records the options of a runtime's own argument parser, from its unpacked wheel. By hand, after a new version:

    STUBS="triton xgrammar llguidance" python tests/runtimes/record.py vllm 0.33.0 FOLDER
    STUBS="triton …" python tests/runtimes/record.py sglang 0.5.23 FOLDER

FOLDER has the wheel's Python files. Packages named in STUBS are replaced by hollow modules: they need a GPU or a
compiler to be imported, and no option depends on them. Everything else (torch, transformers, pydantic …) is the
real package. What was stubbed is written into the record.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import json
import os
import sys
import types
from pathlib import Path
from typing import Any

STUBS = set(os.environ.get("STUBS", "").split())


class Hollow(type):
    """Every attribute and every call of it is itself."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

    def __call__(cls, *_: Any, **__: Any) -> Any:
        return cls


class Nothing(metaclass=Hollow):
    """What a hollow module holds."""


class Module(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name == "__version__":
            return "99.0"
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        found = name.split(".")[0] in STUBS
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if found else None

    def create_module(self, spec: Any) -> types.ModuleType:
        made = Module(spec.name)
        made.__path__ = []
        return made

    def exec_module(self, module: types.ModuleType) -> None: ...


def parser(runtime: str) -> argparse.ArgumentParser:
    """The runtime's own."""
    if runtime == "vllm":
        os.environ.setdefault("VLLM_TARGET_DEVICE", "cpu")  # options are the same; without a GPU it cannot guess
        from vllm.entrypoints.common.cli_args import make_arg_parser  # type: ignore[import-not-found]
        from vllm.utils.argparse_utils import FlexibleArgumentParser  # type: ignore[import-not-found]

        made: argparse.ArgumentParser = make_arg_parser(FlexibleArgumentParser())
        return made
    from sglang.srt.server_args import ServerArgs  # type: ignore[import-not-found]

    plain = argparse.ArgumentParser()
    ServerArgs.add_cli_args(plain)
    return plain


def options(made: argparse.ArgumentParser) -> dict[str, Any]:
    """Option -> how many values it takes (argparse's nargs, 0 for a switch), and the only ones it takes."""
    found = {}
    for action in made._actions:
        switch = action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction)
        entry: dict[str, Any] = {"values": 0 if switch else action.nargs or 1}
        if action.choices:
            entry["choices"] = sorted(str(choice) for choice in action.choices)
        found.update(dict.fromkeys(action.option_strings, entry))
    return dict(sorted(found.items()))


def main() -> None:
    runtime, version, folder = sys.argv[1:4]
    sys.path.insert(0, folder)
    sys.meta_path.append(Finder())
    told = {"runtime": runtime, "version": version, "stubbed": sorted(STUBS), "options": options(parser(runtime))}
    path = Path(__file__).parent / "parsers" / f"{runtime}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(told, indent=0, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
