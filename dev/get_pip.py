# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stands in for the get-pip that ansible-test downloads for its own environments, where only PyPI is reachable."""

import subprocess
import sys

UNKNOWN_TO_PIP = ("--no-setuptools", "--no-wheel")

if __name__ == "__main__":
    # In a process of its own: ensurepip makes the process that calls it blind to pip's configuration.
    subprocess.check_call([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL)
    arguments = [argument for argument in sys.argv[1:] if argument not in UNKNOWN_TO_PIP]
    raise SystemExit(subprocess.call([sys.executable, "-m", "pip", "install", *arguments]))
