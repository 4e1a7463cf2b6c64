"""How a trained model fares: the facts of a run, and what they mean in words. Reports and the explorer share it."""

from diabolo.verdict._facts import Facts, Scale, gather, scale_of
from diabolo.verdict._findings import DEAD, Finding, code_verdict, loss_verdict, training_verdict, verdict
from diabolo.verdict._words import counted, number

__all__ = [
    "DEAD",
    "Facts",
    "Finding",
    "Scale",
    "code_verdict",
    "counted",
    "gather",
    "loss_verdict",
    "number",
    "scale_of",
    "training_verdict",
    "verdict",
]
