"""Starts one version of the example: `python -m examples.speech --version 1.5.0`, or `python PATH/speech --version ...`."""

import os
import sys
from pathlib import Path

# Several servers share a few cores in the demo: one BLAS thread each is fairer, and faster for matrices this small.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

if not __package__:
    # Started by its path: make the folder importable as a package (PEP 366), under whatever name it was shipped. The
    # folder itself leaves the search path, so that none of our modules can be taken for somebody else's.
    _FOLDER = Path(__file__).resolve().parent
    sys.path[:] = [str(_FOLDER.parent), *(entry for entry in sys.path if Path(entry or ".").resolve() != _FOLDER)]
    __package__ = _FOLDER.name

from .command import main  # noqa: E402 - only now can it be found, and only now may numpy load

if __name__ == "__main__":
    sys.exit(main())
