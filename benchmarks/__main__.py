"""`make bench`: every benchmark, one after the other."""

import subprocess
import sys

NAMES = (
    "startup",
    "judge",
    "replay",
    "rollback",
    "gateways",
    "operations",
    "crashes",
    "kills",
    "runtime",
    "artifacts",
    "registry",
)


def main() -> int:
    """Run them all with our own options; return 1 when a bar did not hold."""
    codes = [
        subprocess.run([sys.executable, "-m", f"benchmarks.{n}", *sys.argv[1:]], check=False).returncode for n in NAMES
    ]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
