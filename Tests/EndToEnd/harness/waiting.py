"""Bounded waiting: poll with a deadline, never sleep and hope."""

import os
import time

# Slow machines set this above 1.
PATIENCE = float(os.environ.get("E2E_PATIENCE", "1"))


def eventually(what, condition, timeout=10.0, every=0.02):
    """Calls `condition` until it gives something true, and returns that. An AssertionError or a KeyError inside counts as "not yet"."""
    deadline = time.monotonic() + timeout * PATIENCE
    while True:
        last, failure = None, None
        try:
            last = condition()
            if last:
                return last
        except (AssertionError, KeyError) as error:
            failure = error
        if time.monotonic() > deadline:
            seen = f"last failure: {failure!r}" if failure else f"last value: {last!r}"
            raise AssertionError(f"not within {timeout * PATIENCE:.1f} s: {what} ({seen})"[:4000])
        time.sleep(every)


def never(what, condition, during):
    """Checks all the time that `condition` stays false."""
    deadline = time.monotonic() + during
    while time.monotonic() < deadline:
        seen = condition()
        assert not seen, f"{what}: {seen!r}"
        time.sleep(0.02)
