import unittest

from state import StateError, read


class State(unittest.TestCase):
    def test_missing(self):
        with self.assertRaisesRegex(StateError, "nowhere"):
            read("nowhere")
