"""Panels for notebooks: ``from ikexplore_widgets import Explorer``."""

from .explorer import Explorer

__all__ = ["Explorer"]
