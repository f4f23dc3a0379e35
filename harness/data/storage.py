"""Where bytes come from: local files, and URLs through fsspec. Range reads, retries, and errors in the words of the house.

Credentials come from where the storage's own tools look for them (environment, profiles, metadata services). A URL that
carries one is refused: paths are printed.
"""

from __future__ import annotations

import contextlib
import glob
import gzip
import hashlib
import io
import os
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

from harness.data import private_folder
from harness.errors import DataError, JobError
from harness.names.scratch import scratch_name
from harness.names.urls import secret_in
from harness.names.variables import CACHE

__all__ = [
    "GZIP_MAGIC", "RangeFile", "basename", "cached", "each", "exists", "find", "is_folder", "is_url", "open_range", "size_bytes",
    "unpacked", "version",
]  # fmt: skip

GZIP_MAGIC = b"\x1f\x8b"
TRIES = 4
BACKOFF_S = 0.2  # before the second try; doubled before each further one
READ_AHEAD = 1 << 20
SMALL = 1 << 20  # what is smaller is read again sooner than it is looked up
RACY_S = 2.0  # a file that was changed so lately may change again without its time showing it
INDEX_VERSION = 1
VERSIONS = ("ETag", "etag", "mtime", "LastModified", "Last-Modified", "md5", "Content-MD5")  # what tells one content from another
GENERATIONS = ("generation", "VersionId")
THREADS = 8  # that index files
GONE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ImportError, ValueError)

T = TypeVar("T")
S = TypeVar("S")


def is_url(path: str) -> bool:
    """Say whether a path is a URL.

    >>> is_url("s3://bucket/a"), is_url("/data/a")
    (True, False)
    """
    return "://" in path


def basename(path: str) -> str:
    """Return the last part of a path or URL."""
    return os.path.basename(path.rstrip("/"))


class RangeFile:
    """A file that is read by ranges; to be closed, or used in a `with`.

    Args:
      path: local path or URL.
    Raises: DataError: it cannot be opened; names the path and why.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._fs = self._fd = None
        if is_url(path):
            self._fs, self._key = _filesystem(path)
            self.size = size_bytes(path)
            return
        try:
            self._fd = os.open(path, os.O_RDONLY)
            self.size = os.fstat(self._fd).st_size
        except OSError as exc:
            raise DataError(f"{path}: cannot be read: {exc.strerror}") from exc

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes [start, stop), fewer where the file ends before."""
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        if self._fd is not None:
            return self._read_local(start, stop)
        return _retried(self.path, lambda: self._read_remote(start, stop))

    def _read_local(self, start: int, stop: int) -> bytes:
        assert self._fd is not None
        parts: list[bytes] = []
        try:
            while start < stop and (part := os.pread(self._fd, stop - start, start)):
                parts.append(part)  # a single read gives 2 GiB at most
                start += len(part)
        except OSError as exc:
            raise DataError(f"{self.path}: cannot be read at byte {start}: {exc.strerror}") from exc
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_remote(self, start: int, stop: int) -> bytes:
        assert self._fs is not None
        data: bytes = self._fs.cat_file(self._key, start=start, end=stop)
        if len(data) == self.size != stop - start:
            raise DataError(
                f"{self.path}: expected bytes {start} to {stop}, found the whole file: the server does not serve ranges "
                "(HTTP 206), and each read would be of all of it; copy the file here, or to a server that does"
            )
        if len(data) != stop - start:
            raise ConnectionError(f"expected {stop - start} bytes from {start}, found {len(data)}")
        return data

    def stream(self) -> io.BufferedReader:
        """Return the file as a stream of its own position."""
        return io.BufferedReader(_Stream(self), READ_AHEAD)

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> RangeFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Stream(io.RawIOBase):
    """A RangeFile as Python's raw stream."""

    def __init__(self, file: RangeFile) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._file.size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(self._at, self._at + len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def open_range(path: str) -> RangeFile:
    """Open a file to be read by ranges; see `RangeFile`."""
    return RangeFile(path)


def unpacked(file: RangeFile) -> IO[bytes]:
    """Return a file's content as a stream, unpacked where it is GZIP or ZLIB; told by its first bytes."""
    head = file.read(0, 2)
    if head == GZIP_MAGIC:
        return gzip.GzipFile(fileobj=file.stream())  # type: ignore[return-value]
    if is_zlib(head):
        return io.BufferedReader(_Zlib(file.stream()), READ_AHEAD)
    return file.stream()


def is_zlib(head: bytes) -> bool:
    """Say whether two bytes begin a ZLIB stream: method 8, window of 32 KiB, and the check of RFC 1950.

    >>> is_zlib(zlib.compress(b"")[:2]), is_zlib(b"ab"), is_zlib(b"")
    (True, False, False)
    """
    return len(head) == 2 and head[0] == 0x78 and int.from_bytes(head, "big") % 31 == 0


class _Zlib(io.RawIOBase):
    """A ZLIB stream as Python's raw stream."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed, self._left, self._inflate = packed, b"", zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left and not self._inflate.eof:
            data = self._inflate.unconsumed_tail or self._packed.read(1 << 16)
            if not data:
                raise EOFError("the stream ended before its end marker")
            self._left = self._inflate.decompress(data, READ_AHEAD)
        part, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def size_bytes(path: str) -> int:
    """Return a file's size.

    Raises: DataError: it is not there, or cannot be looked at.
    """
    if is_url(path):
        fs, key = _filesystem(path)
        size = _retried(path, lambda: fs.info(key)["size"])
        if size is None:
            raise DataError(f"{path}: the server does not say how large it is; ranges cannot be read from it, copy it first")
        return int(size)
    try:
        return os.path.getsize(path)
    except OSError as exc:
        raise DataError(f"{path}: cannot be read: {exc.strerror}") from exc


def version(path: str) -> tuple[int, str]:
    """Return the size of what a URL names now, and what its storage says that tells one content from another."""
    fs, key = _filesystem(path)
    fs.invalidate_cache()  # as it is now, not as a listing had it
    info = _retried(path, lambda: fs.info(key))
    known = [f"{name} {info[name]}" for name in (*VERSIONS, *GENERATIONS) if info.get(name)]
    return int(info["size"] or 0), ", ".join(known)


def exists(path: str) -> bool:
    """Say whether there is a file or folder."""
    if is_url(path):
        fs, key = _filesystem(path)
        return bool(_retried(path, lambda: fs.exists(key)))
    return os.path.exists(path)


def is_folder(path: str) -> bool:
    """Say whether a path is a folder."""
    if is_url(path):
        fs, key = _filesystem(path)
        return bool(_retried(path, lambda: fs.isdir(key)))
    return os.path.isdir(path)


def find(pattern: str) -> list[str]:
    """Return the files that a glob matches, sorted."""
    if not is_url(pattern):
        return sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
    fs, key = _filesystem(pattern)
    found = _retried(pattern, lambda: fs.glob(key, detail=True))
    return sorted(fs.unstrip_protocol(name) for name, info in found.items() if info["type"] == "file")


def each(work: Callable[[S], T], items: Sequence[S]) -> list[T]:
    """Do some work for each of some files, in threads, and return what it gives in their order."""
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, items))


def cached(path: str, kind: str, build: Callable[[], np.ndarray]) -> np.ndarray:
    """Return what one pass over a file finds, kept in the user's cache under its path, size and time.

    Args:
      path: the file.
      kind: what is kept of it, with the options it depends on.
      build: makes the pass; int64 [n].
    """
    mark = _mark(path)
    if mark is None:
        return build()
    name = hashlib.sha256(f"{INDEX_VERSION}\0{kind}\0{mark}".encode()).hexdigest()
    folder = _cache_folder()
    if CACHE.name not in os.environ:  # what somebody has named they look after themselves
        private_folder.close(folder)
    place = folder / f"{name}.npy"
    # What others may have written is not believed: it says which records there are.
    if private_folder.intruders(place, folder):
        return build()
    try:
        return np.load(place, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        found = build()
    temporary = scratch_name(place)
    # A cache that cannot be written costs time, nothing else.
    with contextlib.suppress(OSError):
        private_folder.make(folder)
        # For this user alone whatever the umask: what others may write to is not believed the next time.
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            np.save(stream, found)
        os.replace(temporary, place)
    return found


def _cache_folder() -> Path:
    own = CACHE.get()
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "harness"


def _mark(path: str) -> str | None:
    """Return what tells one content of a file from another; None where it is not worth keeping, or not safe."""
    if is_url(path):
        fs, key = _filesystem(path)
        info = _retried(path, lambda: fs.info(key))
        version = next((str(info[name]) for name in VERSIONS if info.get(name)), None)
        return None if version is None else f"{path}\0{info['size']}\0{version}"
    try:
        found = os.stat(path)
    except OSError as exc:
        raise DataError(f"{path}: cannot be read: {exc.strerror}") from exc
    if found.st_size < SMALL or time.time() - found.st_mtime < RACY_S:
        return None
    return f"{os.path.abspath(path)}\0{found.st_size}\0{found.st_mtime_ns}"


def _filesystem(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the URL as a key in it."""
    parts = urlsplit(url)
    if secret := secret_in(url):
        raise JobError(
            f"data.files: a {parts.scheme}:// URL carries {secret}: paths are printed and recorded; use the environment"
        )
    try:
        import fsspec
    except ImportError as exc:
        raise JobError(f"data.files: {parts.scheme}:// needs fsspec: pip install 'exact-harness[remote]'") from exc
    try:
        fs, key = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as exc:
        raise JobError(f"data.files: {parts.scheme}:// cannot be opened: {exc}") from exc
    except OSError as exc:  # pyarrow looks for libhdfs, and for the Java machine that it needs, as soon as it is asked
        if parts.scheme != "hdfs":
            raise DataError(f"{url}: cannot be opened: {_reason(exc)}") from exc
        raise JobError(
            "data.files: hdfs:// cannot be opened: it needs Hadoop's own library libhdfs.so and a Java runtime on every host: "
            "set JAVA_HOME, HADOOP_HOME (or ARROW_LIBHDFS_DIR) and CLASSPATH=$(hadoop classpath --glob), or name the files as "
            f"webhdfs://NAMENODE:9870/PATH, which needs neither ({' '.join(str(exc).split())[:160]})"
        ) from exc
    return fs, key


def _retried(path: str, work: Callable[[], T]) -> T:
    """Do some work on a URL, again where it fails for a reason that may pass.

    Raises: DataError: it failed each time; says how often it was tried.
    """
    for attempt in range(1, TRIES + 1):
        try:
            return work()
        except DataError:
            raise  # it is known already what is wrong
        except GONE as exc:
            raise DataError(f"{path}: cannot be read: {_reason(exc)}") from exc
        except Exception as exc:  # clients of storage raise what they like: botocore's, aiohttp's, OSError
            if attempt == TRIES:
                raise DataError(
                    f"{path}: cannot be read: {_reason(exc)}; tried {TRIES} times in {BACKOFF_S * (2 ** (TRIES - 1) - 1):.1f} s "
                    "or more; is the server up, and reachable from here?"
                ) from exc
            time.sleep(BACKOFF_S * 2 ** (attempt - 1))
    raise AssertionError("unreachable")


def _reason(exc: BaseException) -> str:
    """Return one line about an error; no URL, for it may carry what should not be printed."""
    text = " ".join(word for word in str(exc).split() if "://" not in word)
    return f"{type(exc).__name__}: {text[:300]}" if text else type(exc).__name__
