"""What all tests share: where the reference data is, if it is anywhere."""

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(__file__).resolve().parent / "data"


def shared_folder() -> Path | None:
    """The folder with the whole reference set, beside the checkout or named by IKEXPLORE_SHARED; None without one."""
    folder = Path(os.environ.get("IKEXPLORE_SHARED", ROOT.parent / "shared"))
    return folder if (folder / "golden").is_dir() else None


#: Files that take minutes are begun first, so that no worker is left with one when the other has nothing more to do. Those that
#: compile most lead: what runs later finds it compiled.
LONG = ("test_product.py", "test_formats_random.py", "test_features.py", "test_formats_unpack.py", "test_notebooks.py",
        "test_browser.py", "test_page.py")


def pytest_configure():
    """A shell that starts a job in the background has it ignore Ctrl-C, and what it starts too; tests send it to children."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Path of the whole reference set; tests that ask for it are skipped where it is not."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("the whole reference set is not beside this checkout; the copies in tests/data are tested instead")
    return folder


@pytest.fixture(scope="session")
def data() -> Path:
    """Path of the small copies of reference facts that travel with the tests."""
    return DATA


@pytest.fixture(scope="module")
def llama(data):
    """A small llama with F16 weights."""
    import ikexplore as ikx

    return ikx.open(data / "run" / "llama-f16.gguf")


@pytest.fixture(scope="module")
def moe(data):
    """A small qwen3moe with interleaved experts."""
    import ikexplore as ikx

    return ikx.open(data / "run" / "qwen3moe-iq4_ks_r4.gguf")
