//! Every folder under `goldens/pipelines` against what the pipelines of transformers found in the same texts: labels, words, spans, offsets and
//! order are equal, scores within 1e-5.

use std::path::{Path, PathBuf};

use loquat::{
    AggregationStrategy, EncodeOptions, FeatureExtraction, Features, FillMask, FunctionToApply, LabelScore,
    MultipleChoice, Overlong, QuestionAnswering, QuestionAnsweringBuilder, Reranker, TextClassification,
    TokenClassification, TopK, ZeroShotClassification, load_tokenizer,
};
use loquat_tests::{Report, goldens, read_json};
use serde::Deserialize;
use serde_json::{Value, json};

const TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
struct Golden {
    task: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    options: Value,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    text: String,
    #[serde(default)]
    question: String,
    #[serde(default)]
    context: String,
    #[serde(default)]
    choices: Vec<String>,
    output: Value,
}

/// The folders for a task.
fn folders(task: &str) -> Vec<(String, PathBuf, Golden)> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).expect("the goldens are part of the repository");
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
        paths.sort();
        paths
    };
    let mut found = Vec::new();
    for family in list(&goldens("pipelines")) {
        for folder in list(&family) {
            let golden: Golden = read_json(&folder.join("cases.json"));
            if golden.task == task {
                let name = folder.strip_prefix(goldens("pipelines")).unwrap().display().to_string();
                found.push((name, folder, golden));
            }
        }
    }
    assert!(found.len() >= 3, "only {} folders for {task}", found.len());
    found
}

/// Whether two results are equal but for the last digits of numbers with a fraction.
fn same(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
            (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() <= TOLERANCE
        }
        _ => found == expected,
    }
}

/// Compares the results of a case with the reference's.
fn compare(report: &mut Report, name: &str, case: &Case, found: Vec<Value>) {
    assert_eq!(found.len(), case.rows.len());
    for (row, found) in case.rows.iter().zip(found) {
        let fits = same(&found, &row.output);
        let detail = if fits { String::new() } else { format!("{found}\n  expected {}", row.output) };
        let text: String =
            if row.text.is_empty() { format!("{} {}", row.question, row.context) } else { row.text.clone() };
        let text: String = text.chars().take(30).collect();
        report.case(format_args!("{name} {} {text:?}", case.options), fits, detail);
    }
}

fn texts(case: &Case) -> Vec<&str> {
    case.rows.iter().map(|row| row.text.as_str()).collect()
}

fn labels(labels: &[LabelScore]) -> Value {
    labels.iter().map(|label| json!({"label": label.label, "score": label.score})).collect()
}

#[test]
fn text_classification_equals_the_reference() {
    let mut report = Report::default();
    for (name, folder, golden) in folders("text-classification") {
        for case in &golden.cases {
            let mut builder = TextClassification::builder().model(folder.as_path());
            let top_k = case.options.get("top_k");
            builder = builder.top_k(match top_k {
                None => TopK::Best,
                Some(Value::Null) => TopK::All,
                Some(most) => TopK::Most(most.as_u64().unwrap() as usize),
            });
            match case.options.get("function_to_apply").and_then(Value::as_str) {
                Some("sigmoid") => builder = builder.function_to_apply(FunctionToApply::Sigmoid),
                Some("none") => builder = builder.function_to_apply(FunctionToApply::None),
                _ => {}
            }
            let results = builder.build().unwrap().predict(&texts(case)).unwrap();
            let found = results.iter().map(|each| labels(each)).collect();
            compare(&mut report, &name, case, found);
        }
    }
    report.finish(60);
}

fn strategy(name: &str) -> AggregationStrategy {
    match name {
        "none" => AggregationStrategy::None,
        "simple" => AggregationStrategy::Simple,
        "first" => AggregationStrategy::First,
        "average" => AggregationStrategy::Average,
        "max" => AggregationStrategy::Max,
        other => panic!("no strategy {other}"),
    }
}

#[test]
fn token_classification_equals_the_reference() {
    let mut report = Report::default();
    for (name, folder, golden) in folders("token-classification") {
        for case in &golden.cases {
            let strategy = strategy(case.options["aggregation_strategy"].as_str().unwrap());
            let mut builder = TokenClassification::builder().model(folder.as_path()).aggregation_strategy(strategy);
            if let Some(ignored) = case.options.get("ignore_labels").and_then(Value::as_array) {
                builder = builder.ignore_labels(ignored.iter().map(|label| label.as_str().unwrap()));
            }
            if let Some(stride) = case.options.get("stride").and_then(Value::as_u64) {
                builder = builder.stride(stride as usize);
            }
            let results = builder.build().unwrap().predict(&texts(case)).unwrap();
            for (row, entities) in case.rows.iter().zip(results.iter()) {
                for entity in entities {
                    let characters: String =
                        row.text.chars().skip(entity.start).take(entity.end - entity.start).collect();
                    assert_eq!(characters, row.text[entity.bytes.0..entity.bytes.1], "bytes and characters agree");
                }
            }
            let found = results.iter().map(|entities| {
                let entities = entities.iter().map(|entity| match entity.index {
                    Some(index) => {
                        json!({"entity": entity.label, "score": entity.score, "index": index, "word": entity.word,
                        "start": entity.start, "end": entity.end})
                    }
                    None => json!({"entity_group": entity.label, "score": entity.score, "word": entity.word,
                        "start": entity.start, "end": entity.end}),
                });
                entities.collect()
            });
            compare(&mut report, &name, case, found.collect());
        }
    }
    report.finish(180);
}

/// Where labels are of IOB, the reference's groups of words are the entities; their scores are means there and products here.
#[test]
fn entities_are_the_groups_of_words_that_iob_labels_mark() {
    let mut report = Report::default();
    for (name, folder, golden) in folders("token-classification") {
        let strategies = golden.cases.iter().filter(|case| case.options["aggregation_strategy"] == "first");
        for case in strategies.filter(|case| case.options.get("stride").is_none()) {
            let builder = TokenClassification::builder().model(folder.as_path());
            let model = builder.aggregation_strategy(AggregationStrategy::Entities).build().unwrap();
            for (row, entities) in case.rows.iter().zip(model.predict(&texts(case)).unwrap().iter()) {
                let expected = row.output.as_array().unwrap();
                let fits = entities.len() == expected.len()
                    && entities.iter().zip(expected).all(|(entity, group)| {
                        let place = json!([entity.label, entity.word, entity.start, entity.end]);
                        let score = f64::from(entity.score);
                        place == json!([group["entity_group"], group["word"], group["start"], group["end"]])
                            && score <= group["score"].as_f64().unwrap() + TOLERANCE
                    });
                report.case(format_args!("{name} {:?}", row.text), fits, format_args!("{} entities", entities.len()));
            }
        }
    }
    report.finish(27);
}

#[test]
fn vectors_of_tokens_equal_the_reference() {
    let mut report = Report::default();
    for (name, folder, _) in folders("token-classification") {
        let golden: Golden = read_json(&folder.join("features.json"));
        let model = FeatureExtraction::builder().model(folder.as_path()).build().unwrap();
        for case in &golden.cases {
            let found = model.predict(&texts(case)).unwrap();
            let rows = |features: &Features| json!([features.iter().collect::<Vec<_>>()]);
            compare(&mut report, &name, case, found.iter().map(rows).collect());
        }
    }
    report.finish(12);
}

#[test]
fn zero_shot_classification_equals_the_reference() {
    let mut report = Report::default();
    for (name, folder, golden) in folders("zero-shot-classification") {
        for case in &golden.cases {
            let mut builder = ZeroShotClassification::builder()
                .model(folder.as_path())
                .multi_label(case.options.get("multi_label").is_some_and(|value| value == true));
            if let Some(template) = case.options.get("hypothesis_template").and_then(Value::as_str) {
                builder = builder.hypothesis_template(template);
            }
            let labels = case.options["candidate_labels"].as_array().unwrap();
            let labels: Vec<&str> = labels.iter().map(|label| label.as_str().unwrap()).collect();
            let results = builder.build().unwrap().predict(&texts(case), &labels).unwrap();
            let found = case.rows.iter().zip(results.iter()).map(|(row, labels)| {
                json!({
                    "sequence": row.text,
                    "labels": labels.iter().map(|label| label.label.as_str()).collect::<Vec<_>>(),
                    "scores": labels.iter().map(|label| label.score).collect::<Vec<_>>(),
                })
            });
            compare(&mut report, &name, case, found.collect());
        }
    }
    report.finish(40);
}

#[test]
fn fill_mask_equals_the_reference() {
    let mut report = Report::default();
    for (name, folder, golden) in folders("fill-mask") {
        for case in &golden.cases {
            let mut builder = FillMask::builder().model(folder.as_path());
            if let Some(top_k) = case.options.get("top_k").and_then(Value::as_u64) {
                builder = builder.top_k(top_k as usize);
            }
            if let Some(targets) = case.options.get("targets").and_then(Value::as_array) {
                builder = builder.targets(targets.iter().map(|target| target.as_str().unwrap()));
            }
            let results = builder.build().unwrap().predict(&texts(case)).unwrap();
            let found = results.iter().map(|masks| {
                masks
                    .iter()
                    .map(|guesses| {
                        guesses.iter().map(|guess| {
                        json!({"token": guess.token, "token_str": guess.token_str, "score": guess.score})
                    }).collect()
                    })
                    .collect::<Vec<Value>>()
            });
            // The reference gives a text with one mask no list of masks, and each guess the text with the guess in it.
            let mut case = Case { options: case.options.clone(), rows: Vec::new() };
            let found: Vec<Value> = found.map(Value::Array).collect();
            let golden_case = golden.cases.iter().find(|other| other.options == case.options).unwrap();
            for row in &golden_case.rows {
                let mut output = row.output.clone();
                if output[0].is_object() {
                    output = json!([output]);
                }
                for guess in output.as_array_mut().unwrap().iter_mut().flat_map(|mask| mask.as_array_mut().unwrap()) {
                    guess.as_object_mut().unwrap().remove("sequence");
                }
                let row = Row {
                    text: row.text.clone(),
                    question: String::new(),
                    context: String::new(),
                    choices: Vec::new(),
                    output,
                };
                case.rows.push(row);
            }
            compare(&mut report, &name, &case, found);
        }
    }
    report.finish(15);
}

#[test]
fn question_answering_equals_the_reference() {
    let mut report = Report::default();
    for (name, folder, golden) in folders("question-answering") {
        for case in &golden.cases {
            let number = |option: &str| case.options.get(option).and_then(Value::as_u64).map(|value| value as usize);
            let is = |option: &str, value: bool| case.options.get(option).is_some_and(|found| *found == value);
            let mut builder = QuestionAnswering::builder()
                .model(folder.as_path())
                .handle_impossible_answer(is("handle_impossible_answer", true))
                .align_to_words(!is("align_to_words", false));
            if let Some(top_k) = number("top_k") {
                builder = builder.top_k(top_k);
            }
            if let Some(tokens) = number("max_answer_len") {
                builder = builder.max_answer_len(tokens);
            }
            if let Some(tokens) = number("doc_stride") {
                builder = builder.doc_stride(tokens);
            }
            if let Some(tokens) = number("max_seq_len") {
                builder = builder.max_length(tokens);
            }
            let inputs: Vec<(&str, &str)> =
                case.rows.iter().map(|row| (row.question.as_str(), row.context.as_str())).collect();
            let results = builder.build().unwrap().predict(&inputs).unwrap();
            let found = case.rows.iter().zip(results.iter()).map(|(row, answers)| {
                let answers: Vec<Value> = answers
                    .iter()
                    .map(|answer| {
                        json!({"answer": answer.answer, "score": answer.score, "start": answer.start, "end": answer.end})
                    })
                    .collect();
                // The reference gives a single answer no list.
                if row.output.is_object() && answers.len() == 1 { answers[0].clone() } else { Value::Array(answers) }
            });
            compare(&mut report, &name, case, found.collect());
        }
    }
    report.finish(200);
}

#[test]
fn of_a_question_that_is_too_long_the_beginning_counts() {
    let context = "The river rises in the mountains, and every few years it floods the old town.";
    for (name, folder, _) in folders("question-answering") {
        let question = "When does the river carry the most water?";
        let tokenizer = load_tokenizer(folder.as_path()).unwrap();
        let options = EncodeOptions { add_special_tokens: false, ..EncodeOptions::default() };
        let third = tokenizer.encode(question, None, &options).unwrap().offsets[2];
        let answers = |builder: QuestionAnsweringBuilder, question: &str| {
            builder.model(folder.as_path()).build().unwrap().predict(&[(question, context)]).unwrap().into_vec()
        };
        let cut = answers(QuestionAnswering::builder().max_question_len(3), question);
        assert_eq!(cut, answers(QuestionAnswering::builder(), &question[..third.1]), "{name}");
        assert_ne!(cut, answers(QuestionAnswering::builder(), question), "{name}");
    }
}

#[test]
fn texts_that_are_too_long_are_refused_where_that_is_asked_for() {
    let long = "fox ".repeat(100);
    for (_, folder, _) in folders("text-classification").into_iter().filter(|(name, ..)| name.ends_with("sentiment")) {
        let model = TextClassification::builder().model(folder.as_path()).overlong(Overlong::Refuse).build().unwrap();
        let error = model.predict(&["fox", &long]).unwrap_err().to_string();
        assert!(error.starts_with("text 1: ") && error.contains("the model takes 48"), "{error}");
        assert_eq!(model.predict(&["fox"]).unwrap().len(), 1);
    }
}

#[test]
fn multiple_choice_equals_the_reference() {
    let mut report = Report::default();
    for (name, folder, golden) in folders("multiple-choice") {
        let model = MultipleChoice::builder().model(folder.as_path()).build().unwrap();
        for case in &golden.cases {
            let texts: Vec<(&str, &[String])> =
                case.rows.iter().map(|row| (row.text.as_str(), row.choices.as_slice())).collect();
            let results = model.predict(&texts).unwrap();
            let found = results.iter().map(|choices| {
                assert!(choices.is_sorted_by(|a, b| a.score >= b.score), "{choices:?}");
                let mut scores = vec![0.0; choices.len()];
                choices.iter().for_each(|choice| scores[choice.index] = choice.score);
                json!(scores)
            });
            compare(&mut report, &name, case, found.collect());
        }
        let error = model.predict::<_, &str>(&[("text", &["a"]), ("another", &[])]).unwrap_err();
        assert_eq!(error.to_string(), "text 1: no choices: give at least one");
    }
    report.finish(15);
}

#[test]
fn scores_of_pairs_equal_the_reference() {
    let mut report = Report::default();
    for (name, folder, _) in folders("text-classification").into_iter().filter(|(name, ..)| name.ends_with("score")) {
        let golden: Golden = read_json(&folder.join("rerank.json"));
        for case in &golden.cases {
            let raw = case.options.get("raw").is_some();
            let model = Reranker::builder().model(folder.as_path()).raw_scores(raw).build().unwrap();
            let pairs: Vec<(&str, &str)> =
                case.rows.iter().map(|row| (row.text.as_str(), row.context.as_str())).collect();
            let found = model.predict(&pairs).unwrap().iter().map(|score| json!(score)).collect();
            compare(&mut report, &name, case, found);
        }
    }
    report.finish(99);
}

#[test]
fn results_do_not_depend_on_batch_threads_or_budget() {
    for (name, folder, golden) in folders("token-classification") {
        let texts = texts(&golden.cases[0]);
        let build = |threads, budget| {
            let builder = TokenClassification::builder().model(folder.as_path()).ignore_labels::<&str>([]);
            builder.threads(threads).token_budget(budget).build().unwrap()
        };
        let expected = build(1, usize::MAX).predict(&texts).unwrap();
        for (threads, budget) in [(1, 1), (2, 60), (3, usize::MAX)] {
            let model = build(threads, budget);
            assert_eq!(model.predict(&texts).unwrap(), expected, "{name}: {threads} threads, {budget} tokens at once");
            for (text, expected) in texts.iter().zip(expected.iter()) {
                assert_eq!(model.predict(&[text]).unwrap()[0], *expected, "{name}: {text:?} alone");
            }
        }
    }
}
