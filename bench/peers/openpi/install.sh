#!/bin/sh
# Makes the Python environment that `npm run bench -- serve` runs openpi's loop in.
set -eu
cd "$(dirname "$0")/../../.."
python3 -m venv .armature/peers-openpi
.armature/peers-openpi/bin/python -m pip install --quiet --only-binary=:all: \
  --requirement bench/peers/openpi/requirements.txt
