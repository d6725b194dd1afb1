"""What the control plane asks of the outside world: one Protocol a file, its laws in the docstring. No driver lives here."""
