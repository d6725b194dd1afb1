"""A real S3 server (moto's) in a process of its own, for all tests of this folder."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import httpx2
import pytest

_START = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def serving_s3(*buckets: str) -> Iterator[str]:
    """Yield the address of a new server; it ends with its standard input, so with this process at the latest."""
    with subprocess.Popen(
        [sys.executable, "-c", _START],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        for bucket in buckets:
            httpx2.put(f"{url}/{bucket}", timeout=60.0).raise_for_status()
        yield url
        server.terminate()


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    with serving_s3() as url:
        yield url


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return count()


@pytest.fixture
def new_bucket(s3_url: str, _numbers: Iterator[int], monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Make buckets; the AWS_ variables say where."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)

    def make() -> str:
        name = f"bucket-{next(_numbers)}"
        httpx2.put(f"{s3_url}/{name}", timeout=60.0).raise_for_status()
        return name

    return make
