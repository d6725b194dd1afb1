"""Drivers that read what the gateways counted. A driver turns cumulative counters into increments; it judges nothing."""
