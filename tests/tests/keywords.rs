//! Keywords of real texts against KeyBERT's, with all-MiniLM-L6-v2: the embedded int8 weights, and the original f32 weights where they are at
//! hand. The same keywords in the same order; scores within 7e-5, of which 5e-5 are KeyBERT's rounding to four digits.

use loquat::{Keyword, KeywordExtraction, KeywordSelection, ModelSource, Precision};
use loquat_tests::{Report, goldens, original_minilm, read_json};
use serde::Deserialize;

const TOLERANCE: f32 = 7e-5;

#[derive(Deserialize)]
struct Golden {
    texts: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: usize,
    options: Options,
    f32: Vec<(String, f32)>,
    int8: Vec<(String, f32)>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Options {
    top_k: Option<usize>,
    ngram_range: Option<(usize, usize)>,
    stop_words: Option<Vec<String>>,
    selection: Option<String>,
    #[serde(default)]
    diversity: f32,
    #[serde(default)]
    candidates: usize,
}

fn model(source: ModelSource, options: &Options) -> KeywordExtraction {
    let mut builder = KeywordExtraction::builder().model(source).precision(Precision::F32);
    if let Some(top_k) = options.top_k {
        builder = builder.top_k(top_k);
    }
    if let Some((least, most)) = options.ngram_range {
        builder = builder.ngram_range(least, most);
    }
    if let Some(words) = &options.stop_words {
        builder = builder.stop_words(words);
    }
    let selection = match options.selection.as_deref() {
        None => KeywordSelection::Cosine,
        Some("mmr") => KeywordSelection::MaximalMarginalRelevance { diversity: options.diversity },
        Some("max_sum") => KeywordSelection::MaxSum { candidates: options.candidates },
        Some(other) => panic!("no selection {other}"),
    };
    builder.selection(selection).build().expect("the model is sound")
}

/// Each place of a keyword begins with its first word and ends with its last.
fn stands_where_it_says(text: &str, keyword: &Keyword) -> bool {
    let words: Vec<&str> = keyword.keyword.split(' ').collect();
    !keyword.offsets.is_empty()
        && keyword.offsets.iter().all(|&(start, end)| {
            let place: String = text.chars().skip(start).take(end - start).collect();
            let place = place.to_lowercase();
            place.starts_with(words[0]) && place.ends_with(words[words.len() - 1])
        })
}

/// Compares those of every `step`-th setting.
fn compare(source: ModelSource, step: usize, expected: impl Fn(&Case) -> &[(String, f32)]) {
    let golden: Golden = read_json(&goldens("keywords/cases.json"));
    let mut report = Report::default();
    for cases in golden.cases.chunk_by(|a, b| a.options == b.options).step_by(step) {
        let model = model(source.clone(), &cases[0].options);
        for case in cases {
            let text = &golden.texts[case.text];
            let found = model.predict(&[text]).expect("it is text").remove(0);
            let expected = expected(case);
            let same = |(found, (keyword, score)): (&Keyword, &(String, f32))| {
                found.keyword == *keyword
                    && (found.score - score).abs() <= TOLERANCE
                    && stands_where_it_says(text, found)
            };
            let fits = found.len() == expected.len() && found.iter().zip(expected).all(same);
            let detail = if fits { String::new() } else { format!("{found:?}\n  expected {expected:?}") };
            report.case(format_args!("text {} {:?}", case.text, case.options), fits, detail);
        }
    }
    report.finish(100 / step);
}

#[test]
fn keywords_of_the_embedded_model_equal_the_reference() {
    compare(ModelSource::Embedded, 1, |case| &case.int8);
}

#[test]
fn keywords_of_the_original_model_equal_the_reference() {
    let Some(folder) = original_minilm() else { return };
    compare(folder.into(), 3, |case| &case.f32);
}
