#!/usr/bin/env bash
# Runs the examples that `cargo test` has built, on the golden models, and wants a result of each.
set -euo pipefail
cd "$(dirname "$0")/.."

built="${CARGO_TARGET_DIR:-target}/debug/examples"
models=tests/goldens/pipelines
left=$(basename -s .rs pipelines/examples/*.rs)

run() {
  local lines
  lines=$("$built/$1" "${@:2}" | wc -l)
  echo "example $1: $lines lines"
  [ "$lines" -gt 0 ]
  left=$(grep -vx "$1" <<< "$left" || true)
}

run feature_extraction $models/xlm-roberta/ner "Amélie lives in Zürich."
run fill_mask $models/bert/mlm "The [MASK] rises, [MASK]."
run keywords
run load_time $models/bert/ner $models/roberta/ner
run multiple_choice $models/bert/choice "A man finds a letter." "He opens it." "He is an umbrella."
run named_entities $models/bert/ner "Amélie lives in Zürich, and Wolfgang moved to São Paulo in 1998."
run parts_of_speech $models/roberta/ner "Amélie lives in Zürich."
run question_answering $models/bert/squad "Where do I live?" "My name is Wolfgang and I live in Berlin."
run reranking $models/bert/score "What is a loquat?" "A fruit." "A city."
run semantic_search
run sentence_embeddings
run text_classification $models/roberta/sentiment "I love this."
run zero_shot_classification $models/bert/nli "The match ended in a draw." sports politics weather

if [ -n "$left" ]; then
  echo "examples that nothing runs: $left" >&2
  exit 1
fi
