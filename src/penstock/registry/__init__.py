"""What can be served: endpoints and releases, and their rules. Pure: no clock, chance or I/O; knows only the kernel."""
