"""Drivers that keep the journal. The laws are in ports/journal.py; how entries are chained, in rollout/chain.py."""
