#!/bin/sh
# Makes the Python environment that `npm run bench -- model` runs PyTorch in: some 5 GB on Linux x86-64,
# where the wheel on PyPI brings CUDA's libraries along.
set -eu
cd "$(dirname "$0")/../../.."
python3 -m venv .armature/peers-pytorch
.armature/peers-pytorch/bin/python -m pip install --quiet --only-binary=:all: \
  --requirement bench/peers/pytorch/requirements.txt
