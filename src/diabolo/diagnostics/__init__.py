"""Diagnostics: the health of a trained model in words, with the numbers behind them; for reports and the explorer."""

from diabolo.diagnostics._facts import Facts, Scale, facts_of, scale_of
from diabolo.diagnostics._finding import Finding
from diabolo.diagnostics._findings import (
    DEAD,
    diagnose,
    diagnose_baseline,
    diagnose_code,
    diagnose_loss,
    diagnose_units,
)
from diabolo.diagnostics._number_format import number, plural
from diabolo.diagnostics._training_findings import diagnose_training

__all__ = [
    "DEAD",
    "Facts",
    "Finding",
    "Scale",
    "diagnose",
    "diagnose_baseline",
    "diagnose_code",
    "diagnose_loss",
    "diagnose_training",
    "diagnose_units",
    "facts_of",
    "number",
    "plural",
    "scale_of",
]
