#!/usr/bin/env bash
# Runs every test: the workspace's, with the original model at hand, the examples, and the kernels' on AArch64 under emulation.
set -euo pipefail
cd "$(dirname "$0")/.."

# The goldens of the f32 model need its weights (90 MB). Without them those tests say SKIPPED and why.
if [ -z "${LOQUAT_MINILM_DIR:-}" ]; then
  if python3 tools/fetch_minilm.py .cache/minilm; then
    export LOQUAT_MINILM_DIR="$PWD/.cache/minilm"
  elif [ "${CI:-}" = true ]; then
    echo "the f32 model could not be fetched" >&2
    exit 1
  fi
fi

cargo test --workspace
bash .ci/examples.sh
bash .ci/aarch64.sh
