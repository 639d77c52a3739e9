"""A child that does what a shell does: `python -m tests.helpers.shell "exit 3"`."""

import subprocess
import sys

if __name__ == "__main__":
    sys.exit(subprocess.call(["sh", "-c", sys.argv[1]]))
