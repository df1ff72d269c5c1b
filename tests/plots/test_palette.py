"""Colours stay apart for everybody."""

import itertools

import numpy as np
import pytest

from ikexplore.plots import palette

# Machado, Oliveira, Fernandes 2009, severity 1
VISION = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_LMS = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                   [0.0883024619, 0.2817188376, 0.6299787005]])
TO_LAB = np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
                   [0.0259040371, 0.7827717662, -0.8086757660]])


def linear(role, theme):
    c = np.array(palette.rgba(role, theme)[:3])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def oklab(rgb):
    return TO_LAB @ np.cbrt(TO_LMS @ np.clip(rgb, 0, 1))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_devices_and_trouble_differ(theme, vision):
    seen = {role: oklab(np.array(VISION[vision]) @ linear(role, theme)) for role in ("d0", "d1", "d2", "d3", "cpu", "bad")}
    for a, b in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[a] - seen[b]) > 0.1075, (a, b)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("role", ["ink", "ink2", "bad"])
def test_text_is_readable(theme, role):
    r, g, b, alpha = palette.rgba(role, theme)
    ground = np.array(palette.rgba("bg", theme)[:3])
    over = np.array([r, g, b]) * alpha + ground * (1 - alpha)
    light = [float(np.array([0.2126, 0.7152, 0.0722]) @ np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4))
             for c in (over, ground)]
    assert (max(light) + 0.05) / (min(light) + 0.05) >= 4.5


def test_devices_have_roles():
    assert [palette.device_role(n) for n in ("CUDA0", "CUDA5", "CUDA6", "CPU", "Metal")] == ["d0", "d5", "d0", "cpu", "cpu"]
    assert palette.hatched("CUDA6") and not palette.hatched("CUDA5") and not palette.hatched("CPU")


def test_the_page_gets_the_same_table():
    css = palette.css()
    assert "--jp-layout-color1,#ffffff" in css and ".ikx[data-theme=dark]" in css
    assert all(f"--{role}:" in css for role in palette.COLOURS)
