#!/bin/sh
# Resolve the requirements in a fresh environment and write what was resolved to constraints.txt. Run it with the oldest
# Python that is supported (Debian 12 has 3.11.2): packages drop old patch releases of it, and pip takes what fits.
set -eu
python=${1:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for file in requirements*.txt; do grep -v '^-c ' "$file" > "$work/$file"; done
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "opencv-contrib-python-headless<5" -r "$work/requirements-dev.txt" -r "$work/requirements-bench.txt"
{
    echo "# Every package at the version that was tested; made by 'make lock'."
    echo "# opencv-contrib-python-headless stays below 5: later wheels carry no Haar cascades, which DeepFace needs."
    "$work/venv/bin/python" -m pip freeze
} > constraints.txt
