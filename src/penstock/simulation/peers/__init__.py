"""Peers' decision rules, restated exactly, so that a comparison with them is fair.

Each module holds one peer twice: as its own code decides, one value at a time, and over many simulated releases at
once (`rollback_ticks`). The first is pinned by the peers' own test cases, the second by the first. What a peer does
around its rule (webhooks, traffic steps, storage) may not live here, and no improvement of a rule either.
"""
