//! Wrong usage is exit 2, help is exit 0.

use crate::run::{loquat, loquat_with_stdin};

const COMMANDS: [&str; 10] = [
    "embed",
    "similarity",
    "search",
    "tokenize",
    "decode",
    "compile-tokenizer",
    "forward",
    "inspect",
    "profile",
    "hwbench",
];

#[test]
fn help_names_every_command_and_every_command_has_examples() {
    let help = loquat(["--help"]).ok().stdout;
    for command in COMMANDS {
        assert!(help.contains(command), "{command} is not in the help");
        let help = loquat([command, "--help"]).ok().stdout;
        assert!(help.contains(&format!("loquat {command}")), "{command} has no example");
    }
    assert!(loquat(["--version"]).ok().stdout.starts_with("loquat "));
}

#[test]
fn what_does_not_exist_is_usage() {
    loquat::<&str>([]).misused(&["Usage"]);
    loquat(["embedd", "text"]).misused(&["embedd", "embed"]);
    loquat(["embed", "--no-such-option", "text"]).misused(&["--no-such-option"]);
    loquat(["embed", "--threads", "0", "text"]).misused(&["--threads"]);
    loquat(["embed", "--precision", "f17", "text"]).misused(&["f17", "f32", "auto"]);
    loquat(["embed", "--input-format", "csv", "text"]).misused(&["csv", "text", "jsonl"]);
    loquat(["similarity", "only one"]).misused(&["2"]);
    loquat(["search", "query"]).misused(&["--corpus"]);
    loquat(["forward", "--input-ids", "[[1]]"]).misused(&["--out"]);
}

#[test]
fn inputs_come_from_one_place() {
    loquat(["embed", "--input", "file.txt", "text"]).misused(&["not both"]);
    loquat_with_stdin(["decode", "--input", "file.txt", "101"], b"").misused(&["not both"]);
}
