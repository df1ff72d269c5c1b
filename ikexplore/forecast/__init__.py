"""How fast a plan would run on a rig that need not be present: rates with a band, where the time goes, what to measure."""

from .calibrate import calibrate
from .design import choose
from .next import NextRun, next_runs
from .prices import Prices, prices
from .rates import Forecast, Where, forecast

__all__ = ["Forecast", "NextRun", "Prices", "Where", "calibrate", "choose", "forecast", "next_runs", "prices"]
