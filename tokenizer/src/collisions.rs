//! Files whose tokens collide in hash tables, loaded and encoded with: an error, or no more work than for so many lookups.

use std::fmt::Write;

use crate::models::bpe::{place_of_pair, place_of_token};
use crate::models::vocabulary::{PrefixHash, slots};
use crate::pipeline::place_of_word;
use crate::probes::{MOST_PROBES, counted};
use crate::{Tokenizer, TokenizerError};

/// Tokens share so many places: more tokens than that would take long to find that share one.
const HOMES: usize = 16;

/// Two numbers of tokens that differ enough to tell linear work from quadratic.
const FEW: usize = 2_000;
const MANY: usize = 8_000;

/// Words of five letters.
fn words() -> impl Iterator<Item = String> {
    (0..26usize.pow(5)).map(|number| {
        let letter = |place: u32| char::from(b'a' + (number / 26usize.pow(place) % 26) as u8);
        [4, 0, 3, 1, 2].map(letter).iter().collect()
    })
}

/// So many words that share places in the vocabulary of all of them and one more.
fn colliding(count: usize, homes: usize) -> Vec<String> {
    let mask = slots(count + 1) - 1;
    let collides = |word: &String| PrefixHash::of(word.as_bytes()).mixed() as usize & mask < homes;
    let words: Vec<String> = words().filter(collides).take(count).collect();
    assert_eq!(words.len(), count);
    words
}

/// A `tokenizer.json` with a model of this type.
fn file(kind: &str, words: &[String]) -> String {
    let all = || words.iter().map(String::as_str).chain(["[UNK]"]);
    let vocabulary = match kind {
        "Unigram" => serde_json::json!(all().map(|word| (word, -1.5)).collect::<Vec<_>>()),
        _ => all().zip(0..).map(|(word, id)| (word.to_owned(), serde_json::json!(id))).collect(),
    };
    serde_json::json!({
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {
            "type": kind,
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
            "merges": [],
            "unk_id": words.len(),
        },
    })
    .to_string()
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    tokenizer.encode_ids(text, None, &mut ids).expect("ids");
    ids
}

#[test]
fn a_vocabulary_that_collides_is_refused_whatever_its_size() {
    for kind in ["BPE", "Unigram", "WordLevel", "WordPiece"] {
        let refuse = |count: usize| {
            let file = file(kind, &colliding(count, HOMES));
            let (result, probes) = counted(|| Tokenizer::from_json("t.json", file.as_bytes()));
            let Err(TokenizerError::Invalid { file, path, found, .. }) = result else {
                panic!("{kind}: {result:?}");
            };
            assert_eq!((file.as_str(), path.as_str()), ("t.json", "$.model.vocab"));
            assert!(found.starts_with("many tokens with the hash of \""), "{found}");
            probes
        };
        let (few, many) = (refuse(FEW), refuse(MANY));
        assert!(few > (MOST_PROBES * MOST_PROBES / 4) as u64, "{kind}: {few} probes are no collision");
        assert!(many < few + 10 * MANY as u64, "{kind}: {few} probes for few, {many} for many");
    }
}

#[test]
fn a_list_of_tokens_that_collides_is_refused_whatever_its_size() {
    let added = |count: usize| {
        let words = colliding(count, HOMES);
        let tokens = words.iter().zip(0..).map(|(content, id)| {
            serde_json::json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true})
        });
        let file = file("WordLevel", &["known".to_owned()]);
        let tokens = serde_json::to_string(&tokens.collect::<Vec<_>>()).expect("JSON");
        Tokenizer::from_json(
            "t.json",
            file.replacen("\"added_tokens\":[]", &format!("\"added_tokens\":{tokens}"), 1).as_bytes(),
        )
    };
    let lines = |count: usize| {
        let text = colliding(count, HOMES).join("\n") + "\n[UNK]";
        Tokenizer::from_vocab("t.txt", text.as_bytes())
    };
    type Load<'a> = &'a dyn Fn(usize) -> Result<Tokenizer, TokenizerError>;
    let lists: [(&str, Load); 2] = [("$.added_tokens", &added), ("t.txt", &lines)];
    for (name, load) in lists {
        let refuse = |count: usize| {
            let (result, probes) = counted(|| load(count));
            let message = result.expect_err("tokens that collide").to_string();
            assert!(message.contains(name) && message.contains("with the hash of \""), "{message}");
            probes
        };
        let (few, many) = (refuse(FEW), refuse(MANY));
        assert!(few > (MOST_PROBES * MOST_PROBES / 4) as u64, "{name}: {few} probes are no collision");
        assert!(many < few + 10 * MANY as u64, "{name}: {few} probes for few, {many} for many");
    }
}

#[test]
fn as_many_tokens_as_may_collide_are_found() {
    let words = colliding(MOST_PROBES - 24, 1);
    let expected: Vec<u32> = (0..words.len() as u32).collect();
    for kind in ["Unigram", "WordLevel", "WordPiece"] {
        let tokenizer = Tokenizer::from_json("t.json", file(kind, &words).as_bytes()).expect("few enough");
        let (found, probes) = counted(|| ids(&tokenizer, &words.join(" ")));
        assert_eq!(found, expected, "{kind}");
        assert!(probes <= (words.len() * MOST_PROBES) as u64, "{kind}: {probes} probes");
        for (word, id) in words.iter().zip(0..) {
            assert_eq!(tokenizer.token_to_id(word), Some(id));
        }
    }
}

/// BERT's words have tables of their own beside that of the vocabulary.
#[test]
fn words_that_collide_in_the_tables_for_bert_are_found_in_another_way() {
    for count in [FEW, MANY] {
        let slots = (count * 3 / 2).next_power_of_two();
        let words: Vec<String> = words().filter(|word| place_of_word(word, slots) < HOMES).take(count).collect();
        let text = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"].join("\n") + "\n" + &words.join("\n");
        let (tokenizer, probes) = counted(|| Tokenizer::from_vocab("t.txt", text.as_bytes()).expect("a vocabulary"));
        assert!(probes > (MOST_PROBES * MOST_PROBES / 4) as u64, "{probes} probes are no collision");
        assert!(probes < (MOST_PROBES * MOST_PROBES + 100 * count) as u64, "{probes} probes for {count} words");
        let (found, probes) = counted(|| ids(&tokenizer, &words.join(" ")));
        assert_eq!(found[1..=count], (5..5 + count as u32).collect::<Vec<_>>());
        assert!(probes < 100 * count as u64, "{probes} probes for {count} words");
    }
}

/// Merges of single characters whose pairs, or whose tokens, share places.
#[test]
fn merges_that_collide_are_merged_like_others() {
    let character = |number: u32| char::from_u32(0x4E00 + number).expect("a Chinese character");
    let by_pair = |count: usize| {
        let slots = (count + count / 4 + 1).next_power_of_two();
        move |left: u32, right: u32| place_of_pair(left, right, slots) < HOMES
    };
    let by_token = |count: usize| {
        // The characters are tokens too.
        let slots = (3 * count).next_power_of_two();
        move |left: u32, right: u32| {
            let token: String = [character(left), character(right)].iter().collect();
            place_of_token(&token, slots) < HOMES
        }
    };
    type Collides = Box<dyn Fn(u32, u32) -> bool>;
    for (name, count, collides) in [
        ("pairs", FEW, Box::new(by_pair(FEW)) as Collides),
        ("pairs", MANY, Box::new(by_pair(MANY))),
        ("tokens", FEW, Box::new(by_token(FEW))),
        ("tokens", MANY, Box::new(by_token(MANY))),
    ] {
        let all = (0u32..4096).flat_map(|high| (0..=high).flat_map(move |low| [(high, low), (low, high)]));
        let pairs: Vec<(u32, u32)> =
            all.filter(|&(left, right)| left != right && collides(left, right)).take(count).collect();
        let characters = 1 + pairs.iter().map(|&(left, right)| left.max(right)).max().expect("a pair");
        let token = |&(left, right): &(u32, u32)| [character(left), character(right)].iter().collect::<String>();
        let mut file =
            String::from(r#"{"pre_tokenizer": {"type": "WhitespaceSplit"}, "model": {"type": "BPE", "vocab": {"#);
        let tokens = (0..characters).map(|number| character(number).to_string()).chain(pairs.iter().map(token));
        for (token, id) in tokens.zip(0..) {
            write!(file, "{}\"{token}\": {id}", if id == 0 { "" } else { ", " }).expect("a string");
        }
        let merges: Vec<[char; 2]> = pairs.iter().map(|&(left, right)| [character(left), character(right)]).collect();
        write!(file, "}}, \"merges\": {}}}}}", serde_json::json!(merges)).expect("a string");
        let (tokenizer, probes) = counted(|| Tokenizer::from_json("t.json", file.as_bytes()).expect("a tokenizer"));
        // One lookup for each token and two or three for each merge; most find their place at once.
        assert!(probes > (MOST_PROBES * MOST_PROBES / 4) as u64, "{name}: {probes} probes are no collision");
        assert!(probes < (2 * count * MOST_PROBES) as u64, "{name}: {probes} probes for {count} merges");
        let text: Vec<String> = pairs.iter().map(token).collect();
        let (found, probes) = counted(|| ids(&tokenizer, &text.join(" ")));
        assert_eq!(found, (characters..characters + count as u32).collect::<Vec<_>>(), "{name}");
        assert!(probes < (3 * count * MOST_PROBES) as u64, "{name}: {probes} probes for {count} words");
    }
}

#[test]
fn pieces_of_many_lengths_take_no_more_looking_than_those_of_few() {
    let word = "a".repeat(3000);
    let look = |lengths: usize| {
        let long = (1..=lengths).map(|length| format!("##{}{}", "a".repeat(16), "b".repeat(length)));
        let pieces = ["[UNK]", "a", "##a", "##b"].map(str::to_owned).into_iter().chain(long);
        let vocabulary: serde_json::Map<_, _> =
            pieces.zip(0..).map(|(piece, id)| (piece, serde_json::json!(id))).collect();
        let file = serde_json::json!({
            "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "lowercase": true},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 10_000, "vocab": vocabulary},
        });
        let tokenizer = Tokenizer::from_json("t.json", file.to_string().as_bytes()).expect("a tokenizer");
        let longest = format!("{}{}", "a".repeat(17), "b".repeat(lengths));
        assert_eq!(ids(&tokenizer, &longest), [1, 3 + lengths as u32]);
        let (found, looks) = counted(|| ids(&tokenizer, &word));
        assert!(found.len() == word.len() && found[1..].iter().all(|&id| id == 2));
        looks
    };
    let (few, many) = (look(10), look(1000));
    assert!(few > 16 * 2900 && many <= few, "{few} looks for few, {many} for many");
}
