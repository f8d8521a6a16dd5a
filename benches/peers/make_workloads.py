"""Writes benches/workloads.json: the token ids that every contender gets, made once by Hugging Face `tokenizers`.

    python make_workloads.py --model FOLDER          (inside the environment that setup.py made)

`mixed` holds each of the 256 sentences of tests/data/sentences.txt alone; the workloads of one length are cut from
their running text, so that embedding look-ups are as scattered as in real work.
"""

import argparse
import json
import pathlib

import tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHAPES = ((1, 16), (1, 128), (1, 512), (8, 128), (32, 128))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=pathlib.Path, required=True)
    options = parser.parse_args()
    tokenizer = tokenizers.Tokenizer.from_file(str(options.model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    sentences = (ROOT / "tests" / "data" / "sentences.txt").read_text().splitlines()
    mixed = [encoding.ids for encoding in tokenizer.encode_batch(sentences)]

    cls, sep = mixed[0][0], mixed[0][-1]
    text = [token for ids in mixed for token in ids[1:-1]]
    workloads = []
    for count, length in SHAPES:
        body = length - 2
        sequences = [[cls, *text[i * body : (i + 1) * body], sep] for i in range(count)]
        assert all(len(ids) == length for ids in sequences), f"{count}x{length} needs more text"
        workloads.append({"name": f"{count}x{length}", "sequences": sequences})
    workloads.append({"name": "mixed", "sequences": mixed})

    rows = []
    for workload in workloads:
        ids = ",\n".join(json.dumps(sequence, separators=(",", ":")) for sequence in workload["sequences"])
        rows.append(f'{{"name":{json.dumps(workload["name"])},"sequences":[\n{ids}]}}')
    made_by = f"benches/peers/make_workloads.py with tokenizers {tokenizers.__version__}"
    text = f'{{"made_by":{json.dumps(made_by)},\n"workloads":[\n' + ",\n".join(rows) + "]}\n"
    json.loads(text)
    (ROOT / "benches" / "workloads.json").write_text(text)


if __name__ == "__main__":
    main()
