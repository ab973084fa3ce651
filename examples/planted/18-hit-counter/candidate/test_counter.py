import threading
import unittest

from counter import Counter


class Counters(unittest.TestCase):
    def test_threads(self):
        counter = Counter()
        for _ in range(8):
            thread = threading.Thread(target=counter.hit)
            thread.start()
            thread.join()
        self.assertEqual(counter.total, 8)
