"""Small models for hybrid runs, made once."""

import importlib.util
from pathlib import Path

import pytest

import ikexplore as ikx


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Random models of the architectures, matrices in f16."""
    path = Path(__file__).parents[1] / "run" / "random_models.py"
    spec = importlib.util.spec_from_file_location("random_models", path)
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    models = {}

    def give(arch):
        if arch not in models:
            file = tmp_path_factory.mktemp("hybrid") / f"{arch}.gguf"
            maker.write(file, arch)
            models[arch] = ikx.open(file)
        return models[arch]

    return give
