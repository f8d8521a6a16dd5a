//! The commands that run pipelines, on the golden models: what a line of JSON holds, where inputs come from, and what is said when a
//! checkpoint can't do it. What the pipelines find is compared with the reference where they are, in `tests/`.

use safetensors::SafeTensors;
use serde_json::Value;

use crate::run::{Run, loquat, loquat_with_stdin, scratch};

fn golden(path: &str) -> String {
    format!("{}/../tests/goldens/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// A command with `--json` on a golden model.
fn run(command: &str, model: &str, arguments: &[&str], stdin: &str) -> Run {
    let model = golden(&format!("pipelines/{model}"));
    let base = [command, "--json", "--model", &model];
    loquat_with_stdin(base.into_iter().chain(arguments.iter().copied()), stdin.as_bytes())
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn classify_prints_labels_with_scores() {
    let lines = run("classify", "bert/sentiment", &[], "The quick brown fox\n\nI don't think so\n").ok().json();
    assert_eq!(lines.len(), 3, "an empty line is an empty text");
    for line in &lines {
        assert_eq!(keys(line), ["labels"]);
        let labels = line["labels"].as_array().unwrap();
        assert_eq!((labels.len(), keys(&labels[0])), (1, vec!["label", "score"]));
    }
    let all = run("classify", "bert/sentiment", &["--top-k", "all", "The quick brown fox"], "").ok().json();
    let scores: Vec<f64> =
        all[0]["labels"].as_array().unwrap().iter().map(|label| label["score"].as_f64().unwrap()).collect();
    assert!(scores.len() == 3 && scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    assert_eq!(all[0]["labels"][0], lines[0]["labels"][0]);
    let pair =
        run("classify", "bert/sentiment", &["--input-format", "jsonl"], "[\"one\", \"two\"]\n{\"text\": \"one\"}\n")
            .ok()
            .json();
    assert_ne!(pair[0], pair[1]);
    run("classify", "bert/sentiment", &["--top-k", "0"], "").misused(&["--top-k"]);
}

#[test]
fn ner_and_pos_print_entities_with_characters() {
    let text = "Amélie lives in Zürich";
    let line = run("ner", "bert/ner", &["--ignore-labels", "nothing", text], "").ok().json().remove(0);
    let entities = line["entities"].as_array().unwrap();
    assert_eq!(keys(&entities[0]), ["end", "entity_group", "score", "start", "word"]);
    assert_eq!(entities.last().unwrap()["end"], text.chars().count());
    let tokens =
        run("ner", "bert/ner", &["--aggregation-strategy", "none", "--ignore-labels", "nothing", text], "").ok().json();
    assert_eq!(keys(&tokens[0]["entities"][0]), ["end", "entity", "index", "score", "start", "word"]);
    assert_eq!(tokens[0]["entities"][0]["index"], 1);
    let options = ["--aggregation-strategy", "entities", text];
    let entities = run("ner", "bert/ner", &options, "").ok().json().remove(0);
    let labels: Vec<&str> =
        entities["entities"].as_array().unwrap().iter().map(|each| each["entity_group"].as_str().unwrap()).collect();
    let known = ["PER", "LOC", "DATE"];
    assert!(!labels.is_empty() && labels.iter().all(|label| known.contains(label)), "{labels:?}");
    let words = run("pos", "bert/ner", &[text], "").ok().json().remove(0);
    let places: Vec<(u64, u64)> = words["entities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| (word["start"].as_u64().unwrap(), word["end"].as_u64().unwrap()))
        .collect();
    assert_eq!(places, [(0, 6), (7, 12), (13, 15), (16, 22)]);
}

#[test]
fn qa_reads_question_and_context_with_a_tab_between_them() {
    let line = "Where do I live?\tMy name is Wolfgang and I live in Berlin.";
    let answers = run("qa", "bert/squad", &["--top-k", "2"], &format!("{line}\n")).ok().json().remove(0);
    let answer = &answers["answers"][0];
    assert_eq!(keys(answer), ["answer", "end", "score", "start"]);
    let (start, end) = (answer["start"].as_u64().unwrap() as usize, answer["end"].as_u64().unwrap() as usize);
    assert_eq!(answer["answer"], line.split_once('\t').unwrap().1[start..end]);
    let (question, context) = line.split_once('\t').unwrap();
    let found = run("qa", "bert/squad", &["--top-k", "2", question, context], "").ok().json();
    assert_eq!(found, std::slice::from_ref(&answers));
    let json = serde_json::json!({"question": question, "context": context}).to_string();
    let found = run("qa", "bert/squad", &["--top-k", "2", "--input-format", "jsonl"], &json).ok().json();
    assert_eq!(found, [answers]);
    run("qa", "bert/squad", &[], "no tab\n").fails_with(&["stdin: line 1", "pair"]);
}

#[test]
fn zero_shot_prints_labels_beside_scores() {
    let line =
        run("zero-shot", "bert/nli", &["--labels", "sports, politics,weather", "a match"], "").ok().json().remove(0);
    assert_eq!(keys(&line), ["labels", "scores"]);
    let scores: Vec<f64> = line["scores"].as_array().unwrap().iter().map(|score| score.as_f64().unwrap()).collect();
    assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-5 && scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    assert_eq!(line["labels"].as_array().unwrap().len(), 3);
    run("zero-shot", "bert/nli", &["a match"], "").misused(&["--labels"]);
    let own = "{\"text\": \"a match\", \"labels\": [\"rain\", \"sports\"]}\n\"a match\"\n";
    let jsonl = ["--input-format", "jsonl"];
    let lines =
        run("zero-shot", "bert/nli", &[&jsonl[..], &["--labels", "sports,politics,weather"]].concat(), own).ok();
    assert_eq!((lines.json()[0]["labels"].as_array().unwrap().len(), &lines.json()[1]), (2, &line));
    run("zero-shot", "bert/nli", &jsonl, own).fails_with(&["stdin: line 2", "no labels"]);
    run("zero-shot", "bert/nli", &["--labels", "a", "--hypothesis-template", "no place", "a match"], "")
        .fails_with(&["hypothesis_template", "no place"]);
}

#[test]
fn fill_mask_prints_a_list_for_each_mask() {
    let line = run("fill-mask", "bert/mlm", &["--top-k", "3", "The [MASK] fox [MASK]."], "").ok().json().remove(0);
    let masks = line["masks"].as_array().unwrap();
    assert_eq!((masks.len(), masks[0].as_array().unwrap().len()), (2, 3));
    assert_eq!(keys(&masks[0][0]), ["score", "token", "token_str"]);
    run("fill-mask", "bert/mlm", &[], "The [MASK].\nno mask\n").fails_with(&["stdin: line 2", "[MASK]"]);
}

#[test]
fn rerank_prints_documents_in_order() {
    let line = run("rerank", "bert/score", &["a query"], "one\ntwo\nthree\n").ok().json().remove(0);
    let results = line["results"].as_array().unwrap();
    assert_eq!(keys(&results[0]), ["corpus_id", "score", "text"]);
    let mut texts: Vec<&str> = results.iter().map(|result| result["text"].as_str().unwrap()).collect();
    texts.sort_unstable();
    assert_eq!(texts, ["one", "three", "two"]);
    run("rerank", "bert/sentiment", &["a query"], "one\n").fails_with(&["3 outputs"]);
}

#[test]
fn keywords_come_from_the_embedded_model() {
    let text = "A heat pump moves warmth into the house.";
    let line = loquat(["keywords", "--json", "--top-k", "2", text]).ok().json().remove(0);
    let keywords = line["keywords"].as_array().unwrap();
    assert_eq!((keywords.len(), keys(&keywords[0])), (2, vec!["keyword", "offsets", "score"]));
    for keyword in keywords {
        let (start, end) = (keyword["offsets"][0][0].as_u64().unwrap(), keyword["offsets"][0][1].as_u64().unwrap());
        assert_eq!(keyword["keyword"], text[start as usize..end as usize].to_lowercase());
    }
    loquat(["keywords", "--ngram-range", "2,1", text]).fails_with(&["ngram_range"]);
    loquat(["keywords", "--ngram-range", "2", text]).misused(&["--ngram-range"]);
}

#[test]
fn a_head_that_is_not_there_is_said_plainly() {
    let cases = [
        ("qa", "bert/ner", "question-answering", vec!["a", "b"]),
        ("ner", "bert/sentiment", "token-classification", vec!["a"]),
        ("classify", "bert/ner", "text-classification", vec!["a"]),
        ("fill-mask", "roberta/squad", "fill-mask", vec!["a"]),
    ];
    for (command, model, task, arguments) in cases {
        run(command, model, &arguments, "")
            .fails_with(&[&format!("this checkpoint has no {task} head"), "model.safetensors"]);
    }
    loquat(["classify", "a"]).fails_with(&["this checkpoint has no text-classification head", "embedded"]);
}

#[test]
fn texts_that_are_cut_are_reported() {
    let long = "fox ".repeat(100);
    let run = run("classify", "bert/sentiment", &["fox", &long], "");
    assert_eq!((run.code, run.json().len()), (Some(0), 2));
    assert!(run.stderr.contains("1 of 2 texts were cut to 48 tokens; the first is input 2, with "), "{}", run.stderr);
}

#[test]
fn labels_that_do_not_match_the_head_are_refused() {
    let folder = scratch("labels");
    for file in ["model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(golden(&format!("pipelines/bert/sentiment/{file}")), folder.join(file)).unwrap();
    }
    let config = std::fs::read_to_string(golden("pipelines/bert/sentiment/config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["id2label"].as_object_mut().unwrap().remove("2");
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    loquat(["classify", "--model", folder.to_str().unwrap(), "a"]).fails_with(&[
        "config.json",
        "id2label",
        "2 labels",
        "0 to 2",
    ]);
}

#[test]
fn forward_gives_the_raw_outputs_of_every_head() {
    let folder = scratch("forward-tasks");
    let cases: [(&str, &[&str], &[usize]); 8] = [
        ("feature-extraction", &["last_hidden_state", "pooler_output"], &[5, 18]),
        ("next-sentence-prediction", &["logits"], &[2, 2]),
        ("replaced-token-detection", &["logits"], &[5, 1]),
        ("fill-mask", &["logits"], &[5, 43]),
        ("token-classification", &["logits"], &[5, 5]),
        ("text-classification", &["logits"], &[2, 3]),
        ("question-answering", &["end_logits", "start_logits"], &[5, 1]),
        ("multiple-choice", &["logits"], &[2, 1]),
    ];
    for (task, names, shape) in cases {
        let architecture = if task == "replaced-token-detection" { "electra" } else { "bert" };
        let model = golden(&format!("encoders/{architecture}/{task}"));
        let out = folder.join(task);
        let ids = ["--input-ids", "[[1,2,3],[4,5]]", "--out", out.to_str().unwrap()];
        loquat(["forward", "--task", task, "--model", &model].into_iter().chain(ids)).ok();
        let bytes = std::fs::read(&out).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let mut found = tensors.names();
        found.retain(|name| *name != "cu_seqlens");
        found.sort();
        assert_eq!(found, names, "{task}");
        assert_eq!(tensors.tensor(names[0]).unwrap().shape(), shape, "{task}");
    }
    loquat(["forward", "--task", "guessing", "--input-ids", "[[1]]", "--out", "x"]).misused(&["guessing", "fill-mask"]);
}
