"""Traffic and faults that are made up, and what the judge, or a peer, would do about them. Pure: chance comes in seeded."""
