"""Recording mirrored requests and replaying them. What users sent stays in memory: never on disk, never in a log."""
