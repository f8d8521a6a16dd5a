//! Texts that a lesser tool would stumble over.

use crate::run::{loquat, loquat_with_stdin, numbers};

#[test]
fn a_line_that_is_not_utf8_is_named_and_the_lines_before_it_are_whole() {
    for command in [["embed", "--json"], ["tokenize", "--json"]] {
        let run = loquat_with_stdin(command, b"good\nalso good\nbad \xc3\x28\nnever read\n")
            .fails_with(&["stdin: line 3", "not valid UTF-8 from byte 5"]);
        assert_eq!(run.json().len(), 2, "{command:?}");
    }
}

#[test]
fn empty_and_blank_texts_have_the_embedding_of_the_special_tokens_alone() {
    let lines = loquat(["embed", "--json", "", " \t ", "\u{3000}\u{a0}"]).ok().json();
    for line in &lines {
        assert_eq!(line["embedding"], lines[0]["embedding"]);
    }
    let ids = loquat(["tokenize", "--json", " \t "]).ok().json();
    assert_eq!(ids[0]["ids"], serde_json::json!([101, 102]));
}

#[test]
fn a_megabyte_of_one_word_is_one_unknown_token() {
    let mut text = "a".repeat(1 << 20);
    text.push('\n');
    let lines = loquat_with_stdin(["tokenize", "--json"], text.as_bytes()).ok().json();
    assert_eq!(lines[0]["tokens"], serde_json::json!(["[CLS]", "[UNK]", "[SEP]"]));
    assert_eq!(lines[0]["offsets"][1], serde_json::json!([0, 1 << 20]));
    let lines = loquat_with_stdin(["embed", "--json"], text.as_bytes()).ok().json();
    assert_eq!(numbers(&lines[0]["embedding"]).len(), 384);
}

#[test]
fn a_megabyte_of_words_is_cut_and_says_so() {
    let text = "word ".repeat(1 << 18) + "\n";
    let run = loquat_with_stdin(["embed", "--json"], text.as_bytes());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.json()[0]["truncated"], true);
    assert!(
        run.stderr.contains(&format!("cut to 256 tokens; the first is stdin: line 1, with {} tokens", (1 << 18) + 2)),
        "{}",
        run.stderr
    );
}

#[test]
fn odd_characters_are_texts_like_any_other() {
    let text = "\u{0}\u{7f}\u{200d}👩\u{200d}👩 \u{fffd}\u{feff} ｆｕｌｌ 日本語 \u{301}\u{301}";
    let json = serde_json::to_string(text).unwrap() + "\n";
    let lines = loquat_with_stdin(["embed", "--json", "--input-format", "jsonl"], json.as_bytes()).ok().json();
    assert_eq!(lines[0]["text"], text);
    assert!(numbers(&lines[0]["embedding"]).iter().all(|value| value.is_finite()));
}

#[test]
fn json_that_is_no_text_is_named() {
    let embed = ["embed", "--json", "--input-format", "jsonl"];
    loquat_with_stdin(embed, b"\"good\"\nbad\n").fails_with(&["stdin: line 2, column 1", "not a JSON value"]);
    loquat_with_stdin(embed, b"17\n").fails_with(&["stdin: line 1", "expected a text", "the number 17"]);
    loquat_with_stdin(embed, b"{\"txt\": \"a\"}\n").fails_with(&["stdin: line 1", "no \"text\""]);
    loquat_with_stdin(embed, b"[\"a\", \"b\"]\n").fails_with(&["stdin: line 1", "an array of 2"]);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    loquat(["embed", "--input", "no/such/file.txt"]).fails_with(&["no/such/file.txt"]);
    loquat(["embed", "--input", env!("CARGO_TARGET_TMPDIR")]).fails_with(&[env!("CARGO_TARGET_TMPDIR"), "folder"]);
}
