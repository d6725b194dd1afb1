"""The embedded gateway: Envoy from its wheel, programmed over one ADS stream.

`clusters`, `routes`, `listeners`, `counting`, `bootstrap` build resources and `stages` orders them: all pure.
`ads` and `process` talk to Envoy, `admin` reads it back, `driver` is the port.
"""
