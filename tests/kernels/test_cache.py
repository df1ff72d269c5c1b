"""Cache folders: one setting of numba's for all threads."""

import threading
import time

from numba.core import config

from ikexplore_kernels._cache import cache_in


def test_two_threads_never_share_a_folder(tmp_path):
    """Each sees its own folder for as long as it is in its block, and numba's own setting is back afterwards."""
    before, wrong = config.CACHE_DIR, []

    def work(name: str) -> None:
        for _ in range(20):
            with cache_in(tmp_path / name):
                for _ in range(3):
                    time.sleep(0.0003)
                    if str(tmp_path / name) != config.CACHE_DIR:
                        wrong.append((name, config.CACHE_DIR))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and before == config.CACHE_DIR
