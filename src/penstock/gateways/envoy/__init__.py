"""Envoy, started and supervised by us, programmed over one aggregated xDS stream on a unix socket.

`names` and the builders (`clusters`, `routes`, `listeners`, `counting`, `boot`) are pure; `snapshot` knows what each node
has acknowledged; `ads` speaks the protocol; `admin` and `supervisor` touch the process; `driver` is the port.
"""
