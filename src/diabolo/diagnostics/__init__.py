"""How a trained model fares: the facts of a run, and what they mean in words. Reports and the explorer share it."""

from diabolo.diagnostics._facts import Facts, Scale, gather, scale_of
from diabolo.diagnostics._findings import DEAD, Finding, diagnose, diagnose_code, diagnose_loss, diagnose_training
from diabolo.diagnostics._number_format import counted, number

__all__ = [
    "DEAD",
    "Facts",
    "Finding",
    "Scale",
    "counted",
    "diagnose",
    "diagnose_code",
    "diagnose_loss",
    "diagnose_training",
    "gather",
    "number",
    "scale_of",
]
