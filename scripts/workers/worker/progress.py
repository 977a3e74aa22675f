"""Telling the harness where the worker stands, between forwards and never inside one.

A thread of its own would wait for the interpreter's lock inside timed forwards; so the loop itself writes, where a quarter
of a second has passed since the last line.
"""

import time

PERIOD = 0.25


class Reporter:
    """Where a request stands."""

    def __init__(self, replies, phase):
        self.replies = replies
        self.begin(phase, 0)

    def begin(self, phase, of):
        """A phase of `of` forwards begins; told at once, for it is where a death from now on will have happened."""
        self.phase, self.done, self.of = phase, 0, of
        self._write(None)

    def step(self, seconds):
        """A forward ended."""
        self.done += 1
        if time.monotonic() - self.written >= PERIOD:
            self._write(seconds)

    def _write(self, last_seconds):
        self.replies.send("progress", phase=self.phase, done=self.done, of=self.of, last_seconds=last_seconds)
        self.written = time.monotonic()
