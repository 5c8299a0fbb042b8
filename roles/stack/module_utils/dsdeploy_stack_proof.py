"""What proves an installed stack: commands whose output holds a version, and libraries that are asked for theirs.

Standard library, Python >= 3.8.
"""

from __future__ import annotations

import re
import shlex
import sys
from typing import Callable, Dict, List, Tuple

Run = Callable[[List[str]], Tuple[int, str, str]]

# cuDNN gives size_t, NCCL writes an int and gives an error code; both loaded in a process of their own
_ASK = """
import ctypes, sys
found = ctypes.CDLL(sys.argv[1])
if sys.argv[2] == "ncclGetVersion":
    number = ctypes.c_int(0)
    assert found.ncclGetVersion(ctypes.byref(number)) == 0
    print(number.value)
else:
    function = getattr(found, sys.argv[2])
    function.restype = ctypes.c_size_t
    print(function())
"""
# what waits for the driver to be in memory, which it may not be before a restart
AFTER_BOOT = ("driver", "module", "fabric")


def proven(check: Dict[str, str], run: Run) -> Dict[str, object]:
    """One check: what it asked, what was wanted, what was said, and whether they agree."""
    if check["library"]:
        asked = "%s of %s" % (check["function"], check["library"])
        code, out, err = run([sys.executable, "-c", _ASK, check["library"], check["function"]])
        said = out.strip() if code == 0 else _last(err)
        good = code == 0 and said == check["expect"]
    else:
        asked = check["command"]
        try:
            code, out, err = run(shlex.split(check["command"]))
        except OSError as error:
            code, out, err = 127, "", str(error)
        said = out.strip() if code == 0 else _last(err or out)
        good = code == 0 and holds(out, check["expect"])
    return {"what": check["what"], "asked": asked, "wanted": check["expect"], "said": said[:400], "ok": good}


def holds(text: str, wanted: str) -> bool:
    """Whether the wanted version is there as a whole: 470.57.02 is not in 470.57.020, nor 12.2 in 12.20."""
    return re.search(r"(?<![0-9.])" + re.escape(wanted) + r"(?![0-9]|\.[0-9])", text) is not None


def _last(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "nothing"
