"""Gateway drivers: they turn route tables into a proxy's configuration and read back what it serves. They decide nothing."""
