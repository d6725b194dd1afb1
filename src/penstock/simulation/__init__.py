"""Releases that never happen: traffic and faults are drawn, the real judge and the real decisions run on them. Pure, seeded."""
