"""What the model runs on: devices with capacities, described by hand, read from a rig file, or detected."""

from .device import Device
from .learned import Learned
from .machine import Machine

__all__ = ["Device", "Learned", "Machine"]
