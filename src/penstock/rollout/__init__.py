"""The rollout machine: plan, phases, the transition table, `decide`, and where to roll back to.

Pure: no clock, chance or I/O. State is what the journal's entries add up to; nothing else is remembered.
"""
