//! Every line of the golden files, which the reference wrote, comes out the same here.
//!
//! `tools/reference/tokenizer_goldens.py` and `sentencepiece_goldens.py` write the files; the first writes a longer one when asked
//! to, and `LOQUAT_TOKENIZER_GOLDENS` names another file to compare with.

mod support;

use std::path::{Path, PathBuf};

use loquat_tokenizer::{
    DecodeOptions, EncodeOptions, Encoding, Input, Padding, PaddingLength, Side, Tokenizer, TokenizerError, Truncation,
    TruncationStrategy,
};
use serde_json::{Value, json};
use support::compiled;

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn goldens() -> PathBuf {
    repository().join("tests/goldens/tokenizer")
}

fn golden_files() -> Vec<PathBuf> {
    match std::env::var_os("LOQUAT_TOKENIZER_GOLDENS") {
        Some(file) => vec![PathBuf::from(file)],
        None => ["wordpiece.jsonl", "sentencepiece.jsonl"].map(|name| goldens().join(name)).to_vec(),
    }
}

/// A folder with a SentencePiece model and a `tokenizer_config.json`, read.
fn from_sentencepiece_folder(line: &Value) -> Tokenizer {
    let folder = std::env::temp_dir().join(format!("loquat-tokenizer-goldens-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = |field: &str| line[field].as_str().expect("a name");
    std::fs::copy(goldens().join(text("sentencepiece")), folder.join(text("file"))).expect("a copy");
    std::fs::write(folder.join("tokenizer_config.json"), line["config"].to_string()).expect("a file");
    let tokenizer = Tokenizer::from_folder(&folder);
    std::fs::remove_dir_all(&folder).expect("the folder");
    tokenizer.unwrap_or_else(|error| panic!("{error} in {line}"))
}

fn base_tokenizer() -> Value {
    let path = repository().join("assets/all-MiniLM-L6-v2-int8/tokenizer.json");
    let text = std::fs::read_to_string(path).expect("the embedded model's tokenizer.json");
    serde_json::from_str(&text).expect("JSON")
}

fn patched(base: &Value, patch: &Value) -> Tokenizer {
    let mut file = base.clone();
    file["truncation"] = Value::Null;
    file["padding"] = Value::Null;
    for (part, value) in patch.as_object().expect("an object of parts") {
        file[part] = value.clone();
    }
    Tokenizer::from_json("patched", file.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error} in {patch}"))
}

fn side(options: &Value) -> Side {
    match options["direction"].as_str() {
        Some("left") => Side::Left,
        _ => Side::Right,
    }
}

fn number(options: &Value, name: &str) -> Option<usize> {
    options[name].as_u64().map(|number| number as usize)
}

fn encode_options(options: &Value) -> EncodeOptions {
    let truncation = options.get("truncation").map(|options| Truncation {
        max_length: number(options, "max_length").expect("a number"),
        stride: number(options, "stride").unwrap_or(0),
        strategy: match options["strategy"].as_str() {
            Some("only_first") => TruncationStrategy::OnlyFirst,
            Some("only_second") => TruncationStrategy::OnlySecond,
            _ => TruncationStrategy::LongestFirst,
        },
        direction: side(options),
        overflow: true,
    });
    let padding = options.get("padding").map(|options| Padding {
        length: number(options, "length").map_or(PaddingLength::BatchLongest, PaddingLength::Fixed),
        direction: side(options),
        pad_to_multiple_of: number(options, "pad_to_multiple_of"),
        pad_id: number(options, "pad_id").unwrap_or(0) as u32,
        pad_type_id: number(options, "pad_type_id").unwrap_or(0) as u32,
        pad_token: options["pad_token"].as_str().unwrap_or("[PAD]").to_owned(),
    });
    EncodeOptions { add_special_tokens: options["add_special_tokens"].as_bool().unwrap_or(true), truncation, padding }
}

/// A column as the golden file has it: a string of digits where that will do.
fn column(values: impl Iterator<Item = u32> + Clone) -> Value {
    if values.clone().all(|value| value < 10) {
        Value::String(values.filter_map(|value| char::from_digit(value, 10)).collect())
    } else {
        values.collect()
    }
}

fn as_golden(encoding: &Encoding, input: Input) -> Value {
    let offsets = encoding.char_offsets(input);
    let offsets: Vec<usize> = offsets.into_iter().flat_map(|(start, end)| [start, end]).collect();
    let words = encoding.word_ids.iter();
    let words: Vec<i64> = words.map(|word| word.map_or(-1, i64::from)).collect();
    let attention = match encoding.attention_mask.iter().all(|&mask| mask == 1) {
        true => json!(""),
        false => column(encoding.attention_mask.iter().map(|&mask| mask.into())),
    };
    let windows = encoding.overflowing.iter();
    let windows: Vec<Value> = windows.map(|window| as_golden(window, input)).collect();
    json!([
        encoding.ids,
        offsets,
        words,
        column(encoding.special_tokens_mask.iter().map(|&mask| mask.into())),
        column(encoding.type_ids.iter().copied()),
        attention,
        windows,
    ])
}

fn inputs(texts: &Value) -> Vec<Input<'_>> {
    let text = |text: &'_ Value| text.as_str().expect("a text").to_owned().leak() as &str;
    let texts = texts.as_array().expect("texts");
    let input = |value: &Value| match value {
        Value::Array(pair) => (text(&pair[0]), text(&pair[1])).into(),
        single => text(single).into(),
    };
    texts.iter().map(input).collect()
}

/// Where the reference panics or wraps around, an error is the right answer whatever the text.
fn refuses_what_the_reference_lets_pass(error: &TokenizerError) -> bool {
    matches!(error, TokenizerError::StrideTooLarge { .. } | TokenizerError::MaxLengthTooSmall { .. })
}

fn check_encodings(tokenizer: &Tokenizer, case: &Value) -> Result<(), String> {
    let options = encode_options(&case["options"]);
    let inputs = inputs(&case["texts"]);
    let encodings: Result<Vec<Encoding>, TokenizerError> = if let [only] = inputs[..] {
        tokenizer.encode(only.text, only.pair, &options).map(|one| vec![one])
    } else {
        let pairs: Vec<_> = inputs.iter().filter_map(|input| Some((input.text, input.pair?))).collect();
        let singles: Vec<_> = inputs.iter().map(|input| input.text).collect();
        match pairs.is_empty() {
            true => tokenizer.encode_batch(&singles, &options, None),
            false => tokenizer.encode_batch(&pairs, &options, None),
        }
    };
    let encodings = match (encodings, case.get("error")) {
        (Err(_), Some(_)) => return Ok(()),
        (Err(error), None) if refuses_what_the_reference_lets_pass(&error) => return Ok(()),
        (Err(error), None) => return Err(format!("unexpected error: {error}")),
        (Ok(_), Some(_)) => return Err("the reference fails, we don't".to_owned()),
        (Ok(encodings), None) => encodings,
    };
    let found = encodings.iter().zip(&inputs).map(|(encoding, &input)| as_golden(encoding, input));
    let found: Vec<Value> = found.collect();
    if case["encodings"].as_array() != Some(&found) {
        return Err(format!("found {}", Value::from(found)));
    }
    // The fast way gives the same ids.
    if let ([input], [encoding], true) = (&inputs[..], &encodings[..], case.get("options").is_none()) {
        if input.pair.is_some() {
            return Ok(());
        }
        let mut ids = Vec::new();
        let encoded = tokenizer.encode_ids(input.text, None, &mut ids).map_err(|error| error.to_string())?;
        if ids != encoding.ids || encoded.kept != ids.len() || encoded.truncated {
            return Err(format!("encode_ids gives {ids:?} and {encoded:?}"));
        }
    }
    Ok(())
}

fn check_decoding(tokenizer: &Tokenizer, case: &Value) -> Result<(), String> {
    let ids = case["decode"].as_array().expect("ids");
    let ids: Vec<u32> = ids.iter().filter_map(|id| id.as_u64().map(|id| id as u32)).collect();
    for (skip_special_tokens, text) in [(false, &case["texts_of_ids"][0]), (true, &case["texts_of_ids"][1])] {
        let options = DecodeOptions { skip_special_tokens, clean_up: None };
        let found = tokenizer.decode(&ids, &options).map_err(|error| error.to_string())?;
        if Some(found.as_str()) != text.as_str() {
            return Err(format!("decoded to {found:?}"));
        }
    }
    Ok(())
}

#[test]
fn every_golden_line_is_equal() {
    for file in golden_files() {
        every_line_is_equal(&file);
    }
}

/// The tokenizer as it was read, and by way of its compiled form.
fn both(tokenizer: Tokenizer) -> Vec<(&'static str, Tokenizer)> {
    let compiled = compiled(&tokenizer);
    vec![("as read", tokenizer), ("compiled", compiled)]
}

fn every_line_is_equal(file: &Path) {
    let base = base_tokenizer();
    let golden = std::fs::read_to_string(file).expect("the golden file");
    let mut tokenizers = Vec::new();
    let mut patch = Value::Null;
    let (mut cases, mut failures) = (0, Vec::new());
    for (number, line) in (1..).zip(golden.lines()) {
        let case: Value = serde_json::from_str(line).expect("a JSON line");
        if let Some(new) = case.get("tokenizer") {
            tokenizers = both(patched(&base, new));
            patch = new.clone();
            continue;
        }
        if case.get("sentencepiece").is_some() {
            tokenizers = both(from_sentencepiece_folder(&case));
            patch = case;
            continue;
        }
        cases += case["texts"].as_array().map_or(1, Vec::len);
        for (form, tokenizer) in &tokenizers {
            let result = match case.get("decode") {
                Some(_) => check_decoding(tokenizer, &case),
                None => check_encodings(tokenizer, &case),
            };
            if let Err(found) = result {
                failures.push(format!("line {number}, tokenizer {form} {patch:.300}\n  golden {line}\n  {found}"));
            }
        }
    }
    let file = file.display();
    assert!(cases > 1000, "only {cases} cases in {file}");
    assert!(failures.is_empty(), "{file}: {} lines differ:\n{}", failures.len(), failures.join("\n"));
}
