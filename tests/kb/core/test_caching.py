"""The cache's client is kept, and serves several threads at once."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kb.core.caching import RedisCache
from kb.core.embedded import layout, valkey


def test_a_client_is_kept_for_reading_and_one_for_writing() -> None:
    cache = RedisCache("unix:///nowhere", {})
    assert cache._cache.get_client("a") is cache._cache.get_client("b")
    assert cache._cache.get_client("a", write=True) is cache._cache.get_client("b", write=True)
    assert cache._cache.get_client("a") is not RedisCache("unix:///nowhere", {})._cache.get_client("a")


@pytest.mark.slow
def test_threads_share_it_without_mixing_up_answers(tmp_path: Path) -> None:
    layout.sockets(tmp_path).mkdir(parents=True)
    process = subprocess.Popen(valkey.command(tmp_path), stdout=subprocess.DEVNULL)
    try:
        valkey.wait_until_ready(tmp_path, lambda: process.poll() is None)
        cache = RedisCache(f"unix://{layout.valkey_socket(tmp_path)}", {})
        cache.set_many({f"key-{number}": number for number in range(200)})
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda number: cache.get(f"key-{number % 200}"), range(4000)))
        assert found == [number % 200 for number in range(4000)]
    finally:
        cache.close()
        process.terminate()
        process.wait()
