"""Words every room shares: names, errors, digests. Knows no other room; no clock, chance or I/O may enter."""
