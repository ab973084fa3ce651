"""Counters."""

import threading


class Counter:
    """Counts hits of several threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self.total = 0

    def hit(self):
        """Counts one."""
        with self._lock:
            before = self.total
        self.total = before + 1
