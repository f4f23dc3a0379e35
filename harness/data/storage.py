"""Where files lie: on local disks, and behind URLs through fsspec. Names, sizes, retries, and errors as `DataError`.

Credentials come from where the storage's own tools look for them (environment, profiles, metadata services). A URL that
carries one is refused: paths are printed.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

from harness.data.traffic import TRAFFIC
from harness.errors import DataError, JobError
from harness.names.urls import secret_in

__all__ = [
    "VERSIONS", "check_name", "exists", "filesystem", "find", "is_folder", "is_readable_anywhere", "is_url", "map_files",
    "retried", "size_bytes", "version",
]  # fmt: skip

TRIES = 4
BACKOFF_S = 0.2  # before the second try; doubled before each further one
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


def size_bytes(path: str) -> int:
    """Return a file's size.

    Raises: DataError: it is not there, or cannot be looked at.
    """
    if is_url(path):
        fs, key = filesystem(path)
        size = retried(path, lambda: fs.info(key)["size"])
        if size is None:
            raise DataError(f"{path}: the server does not say how large it is; ranges cannot be read from it, copy it first")
        return int(size)
    try:
        return os.path.getsize(path)
    except OSError as exc:
        raise DataError(f"{path}: cannot be read: {exc.strerror}") from exc


def version(path: str) -> tuple[int, str]:
    """Return the size of what a URL names now, and what its storage says that tells one content from another."""
    fs, key = filesystem(path)
    fs.invalidate_cache()  # as it is now, not as a listing had it
    info = retried(path, lambda: fs.info(key))
    known = [f"{name} {info[name]}" for name in (*VERSIONS, *GENERATIONS) if info.get(name)]
    return int(info["size"] or 0), ", ".join(known)


def exists(path: str) -> bool:
    """Say whether there is a file or folder."""
    if is_url(path):
        fs, key = filesystem(path)
        return bool(retried(path, lambda: fs.exists(key)))
    return os.path.exists(path)


def is_folder(path: str) -> bool:
    """Say whether a path is a folder."""
    if is_url(path):
        fs, key = filesystem(path)
        return bool(retried(path, lambda: fs.isdir(key)))
    return os.path.isdir(path)


def is_readable_anywhere(path: str) -> bool:
    """Say whether a path is a file or folder, or a URL: a pipe has no places to go to, and opening one may wait for ever."""
    return is_url(path) or os.path.isfile(path) or os.path.isdir(path)


def find(pattern: str) -> list[str]:
    """Return the files that a glob matches, sorted."""
    if not is_url(pattern):
        return sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
    fs, key = filesystem(pattern)
    matches = retried(pattern, lambda: fs.glob(key, detail=True))
    return sorted(fs.unstrip_protocol(name) for name, info in matches.items() if info["type"] == "file")


def check_name(path: str) -> None:
    """See that a path, as the system lists it, is text: it is hashed, recorded and shown.

    Raises: DataError: it is not UTF-8.

    >>> check_name("a/ä.csv")
    >>> check_name("a/\\udce4.csv")
    Traceback (most recent call last):
    harness.errors.DataError: a/\\udce4.csv: expected a name in UTF-8, found other bytes; rename it
    """
    if not path.isascii():
        try:
            path.encode()
        except UnicodeEncodeError:
            raise DataError(f"{path}: expected a name in UTF-8, found other bytes; rename it") from None


def map_files(work: Callable[[S], T], items: Sequence[S]) -> list[T]:
    """Do some work for each of some files, in threads; return the results in their order."""
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, items))


def filesystem(url: str) -> tuple[Any, str]:
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


def retried(path: str, work: Callable[[], T]) -> T:
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
            TRAFFIC.add(retries=1)
            time.sleep(BACKOFF_S * 2 ** (attempt - 1))
    raise AssertionError("unreachable")


def _reason(exc: BaseException) -> str:
    """Return one line about an error; no URL, for it may carry what should not be printed."""
    text = " ".join(word for word in str(exc).split() if "://" not in word)
    return f"{type(exc).__name__}: {text[:300]}" if text else type(exc).__name__
