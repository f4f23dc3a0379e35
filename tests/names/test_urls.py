"""Secrets in URLs: refused where a job names them, and printed nowhere: no message, log or file of a run repeats one."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError, JobError, RunFolderError
from harness.folder.run_folder import RunFolder
from harness.job.job import Job
from harness.names.urls import secret_in, shown

SECRET = "hunter2hunter2"
URLS = [
    f"https://me:{SECRET}@host/a.npz",
    f"https://{SECRET}@host/a.npz",
    f"http://me:{SECRET}/x@host/a.npz",
    f"s3://{SECRET}@bucket/a.npz",
    f"s3://KEY:{SECRET}@bucket/a.npz",
    f"gs://{SECRET}@bucket/a.npz",
    f"hdfs://{SECRET}@namenode/a.npz",
    f"abfs://container:{SECRET}@account/a.npz",
    f"https://host/a.npz?auth={SECRET}",
    f"https://host/a.npz?AUTH={SECRET}",
    f"https://host/a.npz?%61uth={SECRET}",
    f"https://host/a.npz?x=1;auth={SECRET}",
    f"https://host/a.npz;jsessionid={SECRET}",
    f"https://host/a.npz?api_key={SECRET}&x=1",
    f"https://host/a.npz?sv=1&sig={SECRET}",
    f"https://host/a.npz?X-Amz-Security-Token={SECRET}",
    f"https://host/a.npz#token={SECRET}",
    f"https://host/a.npz#access_token={SECRET}&x=1",
    f"simplecache::https://me:{SECRET}@host/a.npz",
    f"zip://a.npz::s3://{SECRET}@bucket/b.zip",
    f"https://host/fetch?url=https://me:{SECRET}@other/a.npz",
    f"https://host/fetch?url=https%3A%2F%2Fme%3A{SECRET}%40other%2Fa.npz",
]
CLEAN = [
    "s3://bucket/a@b/key=1/token=2/a.npz", "https://host:8080/a.npz?download=1", "https://host/a.npz?versionId=3HL4kqtJvjVBH40Nrjfkd",
    "abfs://container@account.dfs.core.windows.net/a.parquet", "http://[::1]:80/a.npz", "hdfs://namenode:8020/a", "gs://b/a#1.npz",
    "/data/me:x@host/a?auth=1", "plain", "zip://a.npz::https://host:80/b.zip",
]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_a_secret_is_seen_and_not_shown(url):
    assert secret_in(url)
    for text in (url, f"{url}: no such file", f"'{url}', and (see {url})", f"a {url}\n{url}."):
        assert SECRET not in shown(text)
    assert SECRET not in str(HarnessError(f"data.files: {url}: cannot be read"))


@pytest.mark.parametrize("url", CLEAN)
def test_what_is_none_is_neither_refused_nor_changed(url):
    assert secret_in(url) == ""
    assert shown(f"{url}: x, '{url}'") == f"{url}: x, '{url}'"


KEYS = {
    "data.files": lambda url: {"data": {"files": ["a.npz", url], "label": "y"}},
    "data.classes": lambda url: {"data": {"files": "a.npz", "label": "y", "classes": url}},
    "model.path": lambda url: {"model": url},
    "models.old.path": lambda url: {"model": None, "models": {"old": {"path": url}}},
    "output": lambda url: {"output": url},
}


@pytest.mark.parametrize("url", [URLS[0], URLS[3], URLS[8], URLS[16]])
@pytest.mark.parametrize("key", KEYS)
def test_a_job_that_names_one_is_refused_by_key(key, url):
    job = {"model": "m", "data": {"files": "a.npz", "label": "y"}, "metrics": ["accuracy"]}
    with pytest.raises(JobError) as caught:
        Job.from_dict({**job, **KEYS[key](url)})
    assert f"{key}: a URL carries a " in str(caught.value) and "use the environment" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", URLS)
def test_no_other_message_repeats_one(url, tmp_path):
    """Where the job is wrong in another way too, or the URL stands where none belongs."""
    job = {"model": "m", "data": {"files": "a.npz", "label": "y"}, "metrics": ["accuracy"]}
    wrong = [
        {"seed": url}, {url: 1}, {"data": {"files": url.removesuffix("a.npz") + "?"}}, {"data": {"files": [3, url]}},
        {"metrics": [{url: 3}]}, {"batch_size": [url]},
    ]  # fmt: skip
    for keys in wrong:
        with pytest.raises(JobError) as caught:
            Job.from_dict({**job, **keys})
        assert SECRET not in str(caught.value), keys
    for override in (f"model.path.x={url}", f"{url}", f"a.{url}=1", f"data.files=[{url}"):
        with pytest.raises(JobError) as caught:
            Job.from_dict(job, overrides=[override])
        assert SECRET not in str(caught.value), override
    text = f"model: [m\n{'x' * 60} {url}: ]]\n"
    (tmp_path / "job.yaml").write_text(text)
    with pytest.raises(JobError) as caught:
        Job.load(tmp_path / "job.yaml")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", [URLS[0], URLS[3], URLS[8]])
def test_a_run_folder_that_is_a_url(url, tmp_path):
    from pathlib import Path

    with pytest.raises(RunFolderError) as caught:
        RunFolder(Path(url))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", URLS)
def test_no_command_repeats_one(url, world, harness, tmp_path):
    """The whole way, as a process: what it prints, and every file that it leaves."""
    job = world.job(tmp_path / "job.yaml")
    if URLS.index(url) % 4 == 0:  # starting a process costs a second
        for argv in (
            ["evaluate", job, "-o", tmp_path / "run", "--set", f"data.files={url}"],
            ["launch", "--dry-run", "-np", "2", "--", "evaluate", job, "--set", f"model={url}"],
            ["index", url],
        ):
            done = harness(*argv)
            assert done.code in (1, 2), done.text
            assert SECRET not in done.text
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or path.name == "job.yaml" or SECRET not in path.read_text(errors="replace")
