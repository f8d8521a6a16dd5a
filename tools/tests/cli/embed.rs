//! `embed` and `similarity` on the embedded model and on a tiny one.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use crate::{
    run::{loquat, loquat_at_level, loquat_with_stdin, numbers, scratch},
    tiny_model::{HIDDEN, POSITIONS, TinyModel},
};

#[test]
fn a_sentence_has_an_embedding_with_nothing_set_up() {
    let run = loquat(["embed", "The quick brown fox"]).ok();
    assert!(run.stdout.starts_with("\"The quick brown fox\", 384 values:\n"), "{}", run.stdout);
    let values = run.stdout.lines().skip(1).flat_map(str::split_whitespace).map(|value| value.parse::<f32>().unwrap());
    assert_eq!(values.count(), 384);
}

#[test]
fn json_lines_come_one_a_text_in_order() {
    let run = loquat(["embed", "--json", "one", "two", "", "  "]).ok();
    let lines = run.json();
    let texts: Vec<_> = lines.iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["one", "two", "", "  "]);
    for line in &lines {
        let keys: Vec<_> = line.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["embedding", "text", "truncated"]);
        assert_eq!(line["truncated"], false);
        let embedding = numbers(&line["embedding"]);
        assert_eq!(embedding.len(), 384);
        let length = embedding.iter().map(|value| value * value).sum::<f64>().sqrt();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }
    assert_eq!(lines[2]["embedding"], lines[3]["embedding"], "whitespace holds no tokens, as an empty text");
}

#[test]
fn arguments_a_file_and_stdin_are_the_same_input_at_any_thread_count() {
    let folder = scratch("embed-inputs");
    let file = folder.join("texts.txt");
    std::fs::write(&file, "first text\nsecond\n\nlast one").unwrap();
    let file = file.to_str().unwrap();
    let arguments = loquat(["embed", "--json", "first text", "second", "", "last one"]).ok().stdout;
    assert_eq!(loquat(["embed", "--json", "--input", file]).ok().stdout, arguments);
    assert_eq!(loquat(["embed", "--json", "--threads", "1", "--input", file]).ok().stdout, arguments);
    assert_eq!(loquat(["embed", "--json", "--threads", "3", "--input", file]).ok().stdout, arguments);
    let stdin = b"first text\r\nsecond\n\nlast one\n";
    assert_eq!(loquat_with_stdin(["embed", "--json"], stdin).ok().stdout, arguments);
    assert_eq!(loquat_with_stdin(["embed", "--json", "--input", "-"], stdin).ok().stdout, arguments);
    let json = b"\"first text\"\n{\"text\": \"second\"}\n\"\"\n\"last one\"\n";
    assert_eq!(loquat_with_stdin(["embed", "--json", "--input-format", "jsonl"], json).ok().stdout, arguments);
}

#[test]
fn json_texts_may_hold_line_breaks_and_nuls() {
    let run = loquat_with_stdin(["embed", "--json", "--input-format", "jsonl"], b"\"a\\nb\\u0000c\"\n").ok();
    assert_eq!(run.json()[0]["text"], "a\nb\0c");
}

#[test]
fn no_input_is_no_output() {
    assert_eq!(loquat(["embed", "--json"]).ok().stdout, "");
}

#[test]
fn a_text_that_is_cut_says_so_in_its_line_and_on_stderr() {
    let folder = TinyModel::new().write("embed-truncated");
    let long = "cat ".repeat(POSITIONS);
    let run = loquat(["embed", "--json", "--model", folder.to_str().unwrap(), "cat", &long, "mat"]);
    assert_eq!(run.code, Some(0), "{run:#?}");
    let flags: Vec<_> = run.json().iter().map(|line| line["truncated"].as_bool().unwrap()).collect();
    assert_eq!(flags, [false, true, false]);
    assert_eq!(
        run.stderr,
        format!(
            "loquat: 1 of 3 texts were cut to {POSITIONS} tokens; the first is input 2, with {} tokens\n",
            POSITIONS + 2
        )
    );
}

#[test]
fn max_length_counts_special_tokens() {
    let folder = TinyModel::new().write("embed-max-length");
    let model = folder.to_str().unwrap();
    let cut = loquat(["embed", "--json", "--model", model, "--max-length", "4", "the cat sat on the mat"]).json();
    let short = loquat(["embed", "--json", "--model", model, "the cat"]).ok().json();
    assert_eq!(cut[0]["embedding"], short[0]["embedding"]);
    assert_eq!(cut[0]["truncated"], true);
    assert_eq!(numbers(&short[0]["embedding"]).len(), HIDDEN);
    loquat(["embed", "--model", model, "--max-length", "1000", "the cat"]).fails_with(&["max_length", "1000", "24"]);
    loquat(["embed", "--model", model, "--max-length", "1", "the cat"]).fails_with(&["1", "special tokens"]);
}

/// Levels differ in the order of summation only; 2e-5 is the tolerance against the reference.
#[test]
fn every_instruction_set_gives_the_same_embedding() {
    let embed = ["embed", "--json", "The quick brown fox", "jumps over the lazy dog, and then some more."];
    let values = |run: crate::run::Run| run.ok().json().iter().flat_map(|line| numbers(&line["embedding"])).collect();
    let expected: Vec<f64> = values(loquat_at_level("scalar", &embed));
    for level in ["neon", "avx2", "avx512"] {
        let run = loquat_at_level(level, &embed);
        if run.code == Some(1) {
            eprintln!("SKIPPED: {level}");
            run.fails_with(&[&format!("this machine has no {level}")]);
            continue;
        }
        let found: Vec<f64> = values(run);
        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst <= 2e-5, "{level}: {worst:e}");
    }
    loquat_at_level("sse9", &embed).fails_with(&["LOQUAT_CPU", "sse9", "avx2"]);
}

#[test]
fn output_comes_while_input_is_still_open() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_loquat"))
        .args(["embed", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for text in ["first", "second"] {
        writeln!(stdin, "{text}").unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.contains(&format!("\"text\":\"{text}\"")), "{line}");
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_loquat"))
        .args(["embed", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    writeln!(stdin, "first").unwrap();
    stdout.read_line(&mut String::new()).unwrap();
    drop(stdout);
    // The child may be gone before it has read this.
    let _ = writeln!(stdin, "second");
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn similar_texts_are_closer_than_unrelated_ones() {
    let score =
        |a: &str, b: &str| loquat(["similarity", "--json", a, b]).ok().json()[0]["similarity"].as_f64().unwrap();
    let close = score("A cat sleeps on the sofa.", "The kitten is napping on the couch.");
    let far = score("A cat sleeps on the sofa.", "Interest rates rose again in March.");
    assert!(close > 0.6 && far < 0.2, "{close} {far}");
    let printed =
        loquat(["similarity", "A cat sleeps on the sofa.", "The kitten is napping on the couch."]).ok().stdout;
    assert_eq!(printed, format!("{close:.6}\n"));
}

#[test]
fn pairs_are_compared_line_by_line() {
    let run = loquat_with_stdin(["similarity", "--json"], b"same\tsame\n[\"a cat\", \"a dog\"]\n").ok();
    let lines = run.json();
    assert_eq!(lines[0]["texts"], serde_json::json!(["same", "same"]));
    assert!((lines[0]["similarity"].as_f64().unwrap() - 1.0).abs() < 1e-6);
    assert_eq!(lines[1]["texts"], serde_json::json!(["a cat", "a dog"]));
    loquat_with_stdin(["similarity"], b"a\tb\nalone\n").fails_with(&["stdin: line 2", "pair"]);
}

#[test]
fn values_can_be_fewer_and_smaller() {
    let folder = scratch("embed-values");
    let file = folder.join("calibration.txt");
    std::fs::write(&file, "first text\nsecond\nthe third one\n").unwrap();
    let file = file.to_str().unwrap();
    let plain = loquat(["embed", "--json", "one", "two"]).ok().json();
    let cut = loquat(["embed", "--json", "--truncate-dim", "10", "one", "two"]).ok().json();
    for (plain, cut) in plain.iter().zip(&cut) {
        assert_eq!(numbers(&plain["embedding"])[..10], numbers(&cut["embedding"])[..]);
    }
    let range = |values: &str| {
        let run = loquat(["embed", "--json", "--values", values, "--calibrate", file, "one"]).ok().json();
        numbers(&run[0]["embedding"])
    };
    let (int8, uint8) = (range("int8"), range("uint8"));
    assert_eq!(int8.len(), 384);
    assert!(int8.iter().zip(&uint8).all(|(signed, unsigned)| signed + 128.0 == *unsigned));
    // Their own least and greatest values are the ends of the range.
    let own = loquat(["embed", "--json", "--values", "uint8", "one", "two"]).ok().json();
    let columns = numbers(&own[0]["embedding"]).into_iter().zip(numbers(&own[1]["embedding"]));
    assert!(columns.into_iter().all(|(a, b)| a.min(b) == 0.0 && a.max(b) >= 254.0));
    let bits = loquat(["embed", "--json", "--values", "ubinary", "one"]).ok().json();
    assert_eq!(numbers(&bits[0]["embedding"]).len(), 48);
    let first = numbers(&plain[0]["embedding"])[..8].iter().fold(0, |byte, value| 2 * byte + i32::from(*value > 0.0));
    assert_eq!(numbers(&bits[0]["embedding"])[0], f64::from(first));
    loquat(["embed", "--values", "int8", "one"]).fails_with(&["ranges of embeddings", "1 embeddings"]);
    loquat(["embed", "--calibrate", file, "one"]).misused(&["--calibrate", "int8"]);
    loquat(["embed", "--truncate-dim", "385", "one"]).fails_with(&["truncate_dim", "384"]);
    loquat(["embed", "--prompt-name", "mine", "one"]).fails_with(&["prompt_name", "mine", "query"]);
    let prompted = loquat(["embed", "--json", "--prompt", "on", "e"]).ok().json();
    assert_eq!(prompted[0]["embedding"], plain[0]["embedding"]);
}
