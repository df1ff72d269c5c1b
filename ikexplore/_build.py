"""What pyproject.toml cannot say of a wheel: the notebooks, which lie beside the packages, travel inside ``ikexplore``."""

import shutil
from pathlib import Path

from setuptools.command.build_py import build_py

NOTEBOOKS = Path("notebooks")


class BuildWithNotebooks(build_py):
    """Copy ``notebooks/*.ipynb`` to ``ikexplore/notebooks``; an editable install finds the originals."""

    def _copies(self) -> dict[Path, Path]:
        return {
            Path(self.build_lib, "ikexplore", "notebooks", path.name): path
            for path in sorted(NOTEBOOKS.glob("*.ipynb"))
        }

    def run(self) -> None:
        super().run()
        if getattr(self, "editable_mode", False):
            return
        for target, path in self._copies().items():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)

    def get_outputs(self, include_bytecode=True):
        copies = [] if getattr(self, "editable_mode", False) else [str(target) for target in self._copies()]
        return super().get_outputs(include_bytecode) + copies

    def get_source_files(self):
        return super().get_source_files() + [str(path) for path in self._copies().values()]
