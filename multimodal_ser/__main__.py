"""`python -m multimodal_ser` is `multimodal-ser`."""

import sys

from multimodal_ser.cli import main

if __name__ == "__main__":
    sys.exit(main())
