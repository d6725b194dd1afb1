"""The judge: counts from both arms become evidence and a verdict. Pure: no clock, chance or I/O; time comes in as data."""
