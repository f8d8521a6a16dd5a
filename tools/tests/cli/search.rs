//! `search`.

use crate::run::{loquat, loquat_with_stdin, scratch};

const CORPUS: &str = "The cat sleeps on the sofa.\nStocks fell sharply on Monday.\nHeavy rain is expected tomorrow.\nThe cat sleeps on the sofa.\n";

fn corpus(name: &str) -> String {
    let file = scratch(name).join("corpus.txt");
    std::fs::write(&file, CORPUS).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn hits_come_best_first_and_ties_in_the_order_of_the_corpus() {
    let corpus = corpus("search");
    let run =
        loquat(["search", "--json", "--corpus", &corpus, "--top-k", "2", "weather forecast", "a sleeping kitten"]).ok();
    let lines = run.json();
    assert_eq!(lines[0]["query"], "weather forecast");
    assert_eq!(lines[0]["hits"].as_array().unwrap().len(), 2);
    assert_eq!(lines[0]["hits"][0]["index"], 2);
    assert_eq!(lines[0]["hits"][0]["text"], "Heavy rain is expected tomorrow.");
    let indices: Vec<_> =
        lines[1]["hits"].as_array().unwrap().iter().map(|hit| hit["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [0, 3]);
    assert_eq!(lines[1]["hits"][0]["score"], lines[1]["hits"][1]["score"]);
}

#[test]
fn queries_come_from_stdin_too_and_people_get_a_table() {
    let corpus = corpus("search-stdin");
    let run = loquat_with_stdin(["search", "--corpus", &corpus, "--top-k", "1"], b"weather forecast\n").ok();
    let lines: Vec<_> = run.stdout.lines().collect();
    assert_eq!(lines[0], "\"weather forecast\"");
    assert!(lines[1].contains("\"Heavy rain is expected tomorrow.\""), "{}", lines[1]);
    assert_eq!(lines.len(), 2);
}

#[test]
fn a_corpus_that_cannot_be_read_is_named() {
    loquat(["search", "--corpus", "no/such/file", "query"]).fails_with(&["no/such/file"]);
    let corpus = corpus("search-bad");
    std::fs::write(&corpus, b"good\nbad \xff\n").unwrap();
    loquat(["search", "--corpus", &corpus, "query"]).fails_with(&["corpus.txt: line 2", "UTF-8"]);
    loquat(["search", "--corpus", &corpus, "--top-k", "0", "query"]).misused(&["--top-k"]);
}
