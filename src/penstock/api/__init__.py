"""The control plane over HTTP: routes, schemas, problems, guards. No decision is made here."""
