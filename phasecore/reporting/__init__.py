"""The report of runs: one HTML page that needs nothing but a browser.

`write_report` is what `phasecore report` calls.
"""

from phasecore.reporting.page import write_report
from phasecore.reporting.reported import Reported, gather

__all__ = ["Reported", "gather", "write_report"]
