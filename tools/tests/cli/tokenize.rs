//! `tokenize` and `decode`.

use serde_json::json;

use crate::run::{loquat, loquat_with_stdin};

#[test]
fn a_text_has_ids_tokens_and_offsets_in_characters() {
    let run = loquat(["tokenize", "--json", "Héllo wörld, unaffordable"]).ok();
    assert_eq!(
        run.json()[0],
        json!({
            "ids": [101, 7592, 2088, 1010, 14477, 4246, 8551, 3085, 102],
            "tokens": ["[CLS]", "hello", "world", ",", "una", "##ff", "##ord", "##able", "[SEP]"],
            "type_ids": [0, 0, 0, 0, 0, 0, 0, 0, 0],
            "special_tokens_mask": [1, 0, 0, 0, 0, 0, 0, 0, 1],
            "attention_mask": [1, 1, 1, 1, 1, 1, 1, 1, 1],
            "offsets": [[0, 0], [0, 5], [6, 11], [11, 12], [13, 16], [16, 18], [18, 21], [21, 25], [0, 0]]
        })
    );
    let table = loquat(["tokenize", "Héllo"]).ok().stdout;
    assert!(table.contains("7592") && table.contains("hello") && table.contains("0..5"), "{table}");
}

#[test]
fn pairs_come_with_a_tab_as_an_array_or_as_two_arguments() {
    let expected = json!({
        "ids": [101, 1037, 102, 1038, 1039, 102],
        "tokens": ["[CLS]", "a", "[SEP]", "b", "c", "[SEP]"],
        "type_ids": [0, 0, 0, 1, 1, 1],
        "special_tokens_mask": [1, 0, 1, 0, 0, 1],
        "attention_mask": [1, 1, 1, 1, 1, 1],
        "offsets": [[0, 0], [0, 1], [0, 0], [0, 1], [2, 3], [0, 0]]
    });
    assert_eq!(loquat(["tokenize", "--json", "--pair", "a\tb c"]).ok().json()[0], expected);
    assert_eq!(loquat(["tokenize", "--json", "--pair", r#"["a", "b c"]"#]).ok().json()[0], expected);
    assert_eq!(loquat(["tokenize", "--json", "--pair", "a", "b c"]).ok().json()[0], expected);
    let lines = b"[\"a\", \"b c\"]\n{\"text\": \"a\", \"pair\": \"b c\"}\n";
    let run = loquat_with_stdin(["tokenize", "--json", "--input-format", "jsonl"], lines).ok();
    assert_eq!(run.json(), [expected.clone(), expected]);
    loquat_with_stdin(["tokenize", "--pair"], b"a\tb\nc\n").fails_with(&["stdin: line 2", "pair"]);
}

#[test]
fn special_tokens_can_be_left_out() {
    let run = loquat(["tokenize", "--json", "--no-special-tokens", "hello world"]).ok();
    assert_eq!(run.json()[0]["ids"], json!([7592, 2088]));
}

#[test]
fn truncation_overflows_into_windows_that_share_a_stride() {
    let text = "one two three four five";
    let cut = loquat(["tokenize", "--json", "--max-length", "5", text]).ok().json();
    assert_eq!(cut[0]["tokens"], json!(["[CLS]", "one", "two", "three", "[SEP]"]));
    assert!(cut[0].get("overflowing").is_none());
    let windows = loquat(["tokenize", "--json", "--max-length", "5", "--stride", "1", "--overflow", text]).ok().json();
    assert_eq!(windows[0]["tokens"], cut[0]["tokens"]);
    assert_eq!(windows[0]["overflowing"].as_array().unwrap().len(), 1);
    assert_eq!(windows[0]["overflowing"][0]["tokens"], json!(["[CLS]", "three", "four", "five", "[SEP]"]));
    let pair = [
        "tokenize",
        "--json",
        "--pair",
        "--max-length",
        "6",
        "--truncation",
        "only_second",
        "one two\tthree four five",
    ];
    assert_eq!(loquat(pair).ok().json()[0]["tokens"], json!(["[CLS]", "one", "two", "[SEP]", "three", "[SEP]"]));
    let whole =
        loquat(["tokenize", "--json", "--max-length", "5", "--truncation", "do_not_truncate", text]).ok().json();
    assert_eq!(whole[0]["ids"].as_array().unwrap().len(), 7);
    loquat(["tokenize", "--max-length", "5", "--stride", "3", "--overflow", text]).fails_with(&["stride 3"]);
    loquat(["tokenize", "--max-length", "1", text]).fails_with(&["max_length 1"]);
    loquat(["tokenize", "--stride", "1", text]).misused(&["--max-length"]);
    loquat(["tokenize", "--overflow", text]).misused(&["--max-length"]);
    loquat(["tokenize", "--truncation", "longest_first", text]).misused(&["--max-length"]);
}

#[test]
fn padding_fills_up_to_the_longest_to_a_length_or_to_a_multiple() {
    let masks = |arguments: &[&str]| -> Vec<serde_json::Value> {
        let texts = ["one", "one two three"];
        let run = loquat(["tokenize", "--json"].iter().chain(arguments).chain(&["--"]).chain(&texts)).ok();
        run.json().iter().map(|line| line["attention_mask"].clone()).collect()
    };
    assert_eq!(masks(&["--padding"]), [json!([1, 1, 1, 0, 0]), json!([1, 1, 1, 1, 1])]);
    assert_eq!(
        masks(&["--padding", "longest", "--padding-side", "left"]),
        [json!([0, 0, 1, 1, 1]), json!([1, 1, 1, 1, 1])]
    );
    assert_eq!(
        masks(&["--padding", "longest", "--pad-to-multiple-of", "3"]),
        [json!([1, 1, 1, 0, 0, 0]), json!([1, 1, 1, 1, 1, 0])]
    );
    assert_eq!(masks(&["--padding", "max_length", "--max-length", "4"]), [json!([1, 1, 1, 0]), json!([1, 1, 1, 1])]);
    loquat(["tokenize", "--padding", "max_length", "--", "one"]).misused(&["--max-length"]);
    loquat(["tokenize", "--padding-side", "left", "one"]).misused(&["--padding"]);
}

#[test]
fn ids_become_text_again() {
    let text = "hello, world!";
    let tokenized = loquat(["tokenize", "--json", text]).ok();
    let decoded =
        loquat_with_stdin(["decode", "--input-format", "jsonl", "--skip-special-tokens"], tokenized.stdout.as_bytes())
            .ok();
    assert_eq!(decoded.stdout, "hello, world!\n");
    assert_eq!(loquat(["decode", "101", "7592", "102"]).ok().stdout, "[CLS] hello [SEP]\n");
    assert_eq!(loquat(["decode", "[101, 7592]", "2088 102"]).ok().stdout, "[CLS] hello\nworld [SEP]\n");
    let run = loquat_with_stdin(["decode", "--json"], b"7592 2088\n[]\n").ok();
    assert_eq!(run.json(), [json!({"ids": [7592, 2088], "text": "hello world"}), json!({"ids": [], "text": ""})]);
    loquat_with_stdin(["decode"], b"1 2\n3 four\n").fails_with(&["stdin: line 2", "\"four\""]);
    loquat(["decode", "[1, 99999999999]"]).fails_with(&["position 1", "99999999999"]);
}

#[test]
fn jobs_change_nothing_and_stats_go_to_stderr() {
    let lines: String = (0..3000).map(|number| format!("line {number} of many, unaffordable\n")).collect();
    let alone = loquat_with_stdin(["tokenize", "--json"], lines.as_bytes()).ok();
    let together = loquat_with_stdin(["tokenize", "--json", "--jobs", "3", "--stats"], lines.as_bytes());
    assert_eq!((together.code, together.stdout), (Some(0), alone.stdout));
    assert!(together.stderr.contains("3000 inputs") && together.stderr.contains("tokens/s"), "{}", together.stderr);
}

#[test]
fn a_compiled_tokenizer_is_the_same_and_is_never_taken_for_files_that_are_there() {
    let folder = std::env::temp_dir().join(format!("loquat-compile-tokenizer-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n";
    std::fs::write(folder.join("vocab.txt"), vocabulary).expect("a file");
    let (folder_name, compiled) = (folder.display().to_string(), folder.join("tokenizer.loqtok"));
    let out = compiled.display().to_string();
    let run = loquat(["compile-tokenizer", "--json", &folder_name, "--out", &out]).ok();
    let bytes = std::fs::read(&compiled).expect("the compiled tokenizer");
    assert_eq!(run.json()[0], json!({"out": out, "bytes": bytes.len(), "tokens": 7}));
    let ids =
        |model: &str| loquat(["tokenize", "--json", "--model", model, "hello world"]).ok().json()[0]["ids"].clone();
    assert_eq!(ids(&out), json!([2, 5, 6, 3]));
    // The vocabulary changes, and its compiled form lies beside it.
    std::fs::write(folder.join("vocab.txt"), vocabulary.replace("hello\nworld", "world\nhello")).expect("a file");
    assert_eq!(ids(&folder_name), json!([2, 6, 5, 3]));
    std::fs::remove_file(folder.join("vocab.txt")).expect("a file");
    assert_eq!(ids(&folder_name), json!([2, 5, 6, 3]));
    std::fs::write(&compiled, &bytes[..bytes.len() - 1]).expect("a file");
    let run = loquat(["tokenize", "--model", &out, "hello"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("tokenizer.loqtok (header): expected a file of"), "{}", run.stderr);
    std::fs::remove_dir_all(&folder).expect("the folder");
}
