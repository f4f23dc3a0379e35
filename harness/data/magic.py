"""What files and texts are by their first bytes, where no ending tells. Opens nothing."""

from __future__ import annotations

from harness.data import tfrecord_framing as framing

__all__ = ["HEAD", "format_of_content", "is_picture"]

HEAD = 64  # bytes that tell
FORMATS = {b"PAR1": "parquet", b"PK\x03\x04": "npz", b"\x93NUMPY": "npy", b"{": "jsonl"}
PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM")


def format_of_content(head: bytes) -> str | None:
    """Return the format of a file; None where its first bytes do not tell.

    >>> format_of_content(framing.frame(b"record")), format_of_content(b'{"x": 1}'), format_of_content(b"a,b")
    ('tfrecord', 'jsonl', None)
    """
    if len(head) >= framing.HEADER and framing.data_length(head) is not None:
        return "tfrecord"
    return next((kind for start, kind in FORMATS.items() if head.startswith(start)), None)


def is_picture(data: bytes) -> bool:
    """Say whether bytes look like a JPEG, PNG, GIF or BMP image.

    >>> is_picture(b"\\xff\\xd8\\xff\\xe0..."), is_picture(b"cat")
    (True, False)
    """
    return data.startswith(PICTURES)
