"""Says in one line if the packages are missing that coding jobs does not need."""

import sys
from importlib.util import find_spec

for package in ("pandas", "torch", "sentence_transformers", "sklearn"):
    if find_spec(package) is None:
        print(
            f"error: {package} is missing: install all, see README: Installation", file=sys.stderr
        )
        sys.exit(2)
