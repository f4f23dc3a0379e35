"""A reader of the user's own: what it does with its arrays afterwards changes nothing that was read."""

from harness.data.own import OwnSource

READER = """
import numpy as np


class Reader:
    numbers, texts = np.zeros([2, 3], np.float32), np.empty(2, object)

    def __len__(self):
        return 6

    def read(self, start, stop):
        for at in range(start, stop, 2):
            self.numbers[:], self.texts[:] = at, [b"%d" % at] * 2
            yield {"x": self.numbers[: stop - at], "text": self.texts[: stop - at]}
"""


def test_a_reader_may_fill_the_same_arrays_again(tmp_path):
    (tmp_path / "refilled.py").write_text(READER)
    source = OwnSource.open("refilled:Reader", tmp_path)
    source = source.select(source.features())
    runs = list(source.read(0, 6, 2))
    assert [x for run in runs for x in run.raw["x"][:, 0].tolist()] == [0, 0, 2, 2, 4, 4]
    assert [text for run in runs for text in run.raw["text"].tolist()] == [b"0", b"0", b"2", b"2", b"4", b"4"]
