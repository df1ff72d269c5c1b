"""The API reference as HTML pages: ``python docs/api.py FOLDER``. A warning of the builder is an error.

Needs pdoc (``pip install 'ikexplore[docs]'``). ``ROOMS`` and the rooms that ``ikexplore.__all__`` names are what is
public; ``__all__`` of each says which names.
"""

import sys
import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType

ROOMS = (
    "ikexplore", "ikexplore.gguf", "ikexplore.graph", "ikexplore.machine", "ikexplore.models", "ikexplore.placement",
    "ikexplore.qtypes", "ikexplore.run", "ikexplore.schedule", "ikexplore.settings", "ikexplore_kernels",
    "ikexplore_kernels.formats", "ikexplore_widgets",
)  # fmt: skip


def build(folder: Path) -> None:
    """Write the pages; the first one is ``index.html``."""
    import pdoc

    import ikexplore

    for room in ROOMS:
        _resolve(import_module(room))
    pdoc.render.configure(docformat="markdown", footer_text=f"ikexplore {ikexplore.__version__}", show_source=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pdoc.pdoc(*ROOMS, output_directory=folder)


def _resolve(module: ModuleType) -> None:
    """Names that come when first used, made there before the builder looks; of rooms within rooms too."""
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name)
        if isinstance(value, ModuleType):
            _resolve(value)
        else:
            setattr(module, name, value)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/api.py FOLDER")
    build(Path(sys.argv[1]))
