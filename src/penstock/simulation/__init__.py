"""Traffic and faults that are made up, and what the judge, `decide()` or a peer would do about them. Pure, seeded."""
