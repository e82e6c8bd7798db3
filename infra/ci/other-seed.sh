#!/bin/sh
# Makes the reference outputs again with another seed, which changes their numbers and their shapes, and
# runs every test that reads them on that set: `infra/ci/other-seed.sh SEED`.
#
# Needs Python 3.11 and ../shared/data (its frames are the pictures). PYTHON names an interpreter that has
# what test/fixtures/scripts/requirements*.txt list; without it one is made in .armature, some 6 GB with
# the CUDA libraries that PyTorch's wheel brings along.
set -eu
seed=${1:?usage: infra/ci/other-seed.sh SEED}
cd "$(dirname "$0")/../.."
scripts=test/fixtures/scripts
video=../shared/data/g1-bottle-heldout/videos/chunk-000/observation.images.cam_high/episode_000002.mp4

if [ -z "${PYTHON:-}" ]; then
  PYTHON=.armature/fixtures-python/bin/python
  if [ ! -x "$PYTHON" ]; then
    python3 -m venv .armature/fixtures-python
    "$PYTHON" -m pip install --quiet --only-binary=:all: --requirement "$scripts/requirements.txt"
    "$PYTHON" -m pip install --quiet --only-binary=:all: --no-deps \
      --requirement "$scripts/requirements-nodeps.txt"
  fi
fi

export PYTHONDONTWRITEBYTECODE=1
out=.armature/fixtures-$seed
mkdir -p "$out"
for name in $(cd "$scripts" && python3 -c 'from order import ORDER; print(*ORDER)'); do
  if [ "$name" = preprocess ]; then set -- --video "$video"; else set --; fi
  "$PYTHON" "$scripts/make_$name.py" --seed "$seed" --out "$out" "$@"
done

export ARMATURE_FIXTURES="$PWD/$out"
npm run parity
# Tests of other rooms that read the same folder.
npx vitest run --project rooms policy/backbones policy/checkpoint policy/export infra/models
