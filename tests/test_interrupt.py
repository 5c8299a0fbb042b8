"""One signal waits for the step, a second does not."""

from __future__ import annotations

import os
import signal

import pytest

from dsdeploy import interrupt
from dsdeploy.errors import Interrupted


@pytest.mark.parametrize("number", interrupt.SIGNALS)
def test_the_first_signal_waits_and_the_second_does_not(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with interrupt.between_steps():
        interrupt.check()
        os.kill(os.getpid(), number)
        with pytest.raises(Interrupted) as stopped:
            interrupt.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before
    assert stopped.value.exit_code == 130 and "resume SITE" in stopped.value.hint


def test_a_new_run_starts_uninterrupted() -> None:
    with interrupt.between_steps():
        os.kill(os.getpid(), signal.SIGTERM)
    with interrupt.between_steps():
        interrupt.check()
