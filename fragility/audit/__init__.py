"""Can the maps of my model be trusted? An audit of a model, its images and every map method, with controls."""

from fragility.audit.criteria import CRITERIA
from fragility.audit.criterion import Cost, Criterion, Measured, NotApplicable
from fragility.audit.margins import MARGINS, Margin
from fragility.audit.report import Report
from fragility.audit.run import run
from fragility.audit.settings import Settings
from fragility.audit.verdicts import Estimate, Result, Verdict

__all__ = ["CRITERIA", "MARGINS", "Cost", "Criterion", "Estimate", "Margin", "Measured", "NotApplicable", "Report",
           "Result", "Settings", "Verdict", "run"]
