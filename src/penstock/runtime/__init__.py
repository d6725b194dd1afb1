"""Hot swap inside a user's own process: load beside, warm up, check, move one pointer, drain, unload.

Needs no control plane. May import nothing of ours but `kernel`, and nothing that is not in the standard library, since it
lives in other people's servers. Threads, clocks and memory are read here; chance is not.
"""

from penstock.runtime.lease import Parts, PipelineLease, SlotLease
from penstock.runtime.pipeline import Pipeline
from penstock.runtime.report import PipelineReport, PrepareReport, SlotState, SwapReport
from penstock.runtime.slot import Slot

__all__ = [
    "Parts",
    "Pipeline",
    "PipelineLease",
    "PipelineReport",
    "PrepareReport",
    "Slot",
    "SlotLease",
    "SlotState",
    "SwapReport",
]
