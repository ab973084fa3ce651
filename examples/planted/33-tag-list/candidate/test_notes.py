import unittest

from notes import Note


class Notes(unittest.TestCase):
    def test_tags(self):
        note = Note("a")
        note.tag("x")
        self.assertEqual(note.tags, ["x"])
