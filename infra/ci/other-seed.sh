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
if [ ! -f "$video" ]; then
  echo "infra/ci/other-seed.sh: $video is not there, whose frames are the pictures" >&2
  exit 1
fi

if [ -z "${PYTHON:-}" ]; then
  home=.armature/fixtures-python
  PYTHON=$home/bin/python
  # The mark says what was installed, to its end: an environment that was cut off is made anew.
  wanted=$(cat "$scripts"/requirements*.txt)
  if [ "$(cat "$home/complete" 2>/dev/null || true)" != "$wanted" ]; then
    rm -rf "$home"
    python3 -m venv "$home"
    "$PYTHON" -m pip install --quiet --only-binary=:all: --requirement "$scripts/requirements.txt"
    "$PYTHON" -m pip install --quiet --only-binary=:all: --no-deps \
      --requirement "$scripts/requirements-nodeps.txt"
    printf '%s\n' "$wanted" >"$home/complete"
  fi
fi

export PYTHONDONTWRITEBYTECODE=1
out=.armature/fixtures-$seed
rm -rf "$out"
mkdir -p "$out"
for name in $(PYTHONPATH="$scripts" "$PYTHON" -c 'from order import ORDER; print(*ORDER)'); do
  if [ "$name" = preprocess ]; then set -- --video "$video"; else set --; fi
  "$PYTHON" "$scripts/make_$name.py" --seed "$seed" --out "$out" "$@"
done

export ARMATURE_FIXTURES="$PWD/$out"
npm run parity
# Tests of other rooms that read the same folder, found by what they read it with.
others=$(grep -rlE 'support/(fixtures|tiny-models|tiny-qwen)\.ts' --include='*.test.ts' \
  --exclude='*.parity.test.ts' --exclude-dir=node_modules datasets infra policy)
# shellcheck disable=SC2086 # each is a word of its own
npx vitest run --project rooms $others
