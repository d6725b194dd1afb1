"""Drivers of model servers: how versions are switched in servers of each kind. A driver knows no other driver."""
