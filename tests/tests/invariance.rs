//! A text's embedding is the same, bit for bit, whatever else is encoded with it and however the work is split.

use loquat::{CancelToken, Control, Embeddings, Error, Precision, Progress, SentenceEmbeddings};
use loquat_tests::{goldens, sentences};

fn model(threads: usize, token_budget: usize) -> SentenceEmbeddings {
    model_in(Precision::Auto, threads, token_budget)
}

fn model_in(precision: Precision, threads: usize, token_budget: usize) -> SentenceEmbeddings {
    SentenceEmbeddings::builder()
        .precision(precision)
        .threads(threads)
        .token_budget(token_budget)
        .build()
        .expect("the embedded model is sound")
}

/// Real sentences of mixed lengths, with an empty and an overlong one among them.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = sentences().into_iter().step_by(8).take(24).collect();
    texts.insert(7, String::new());
    texts.insert(20, "one two three ".repeat(200));
    texts
}

#[track_caller]
fn assert_same_bits(found: &Embeddings, expected: &Embeddings) {
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let bits = |row: &[f32]| row.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(found), bits(expected), "text {index}");
    }
    assert_eq!(found.truncated(), expected.truncated());
}

#[test]
fn threads_and_token_budgets_change_no_bit() {
    let texts = texts();
    let expected = model(1, 1 << 14).encode(&texts).expect("text");
    assert_eq!(expected.truncated().len(), 1);
    for (threads, token_budget) in [(1, 1), (1, 300), (2, 1 << 14), (2, 257), (3, 64), (5, 1 << 14)] {
        let found = model(threads, token_budget).encode(&texts).expect("text");
        println!("{threads} threads, {token_budget} tokens");
        assert_same_bits(&found, &expected);
    }
}

#[test]
fn no_precision_depends_on_threads_or_budgets() {
    let texts = texts();
    for precision in [Precision::Bf16x3, Precision::Bf16, Precision::Int8, Precision::Int4] {
        let expected = model_in(precision, 1, 1 << 14).encode(&texts).expect("text");
        for (threads, token_budget) in [(1, 1), (2, 257), (3, 1 << 14)] {
            println!("{precision:?}, {threads} threads, {token_budget} tokens");
            let found = model_in(precision, threads, token_budget).encode(&texts).expect("text");
            assert_same_bits(&found, &expected);
        }
    }
}

#[test]
fn neighbours_and_order_change_no_bit() {
    let model = model(2, 1 << 14);
    let texts = texts();
    let together = model.encode(&texts).expect("text");
    let reversed: Vec<&String> = texts.iter().rev().collect();
    let backwards = model.encode(&reversed).expect("text");
    for (index, text) in texts.iter().enumerate() {
        let alone = model.encode(&[text]).expect("text");
        assert_eq!(alone.row(0), together.row(index), "text {index} alone");
        assert_eq!(backwards.row(texts.len() - 1 - index), together.row(index), "text {index} in reverse");
    }
}

#[test]
fn one_model_serves_several_callers_at_once() {
    let model = model(2, 1 << 14);
    let texts = texts();
    let expected = model.encode(&texts).expect("text");
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(|| model.encode(&texts).expect("text"))).collect();
        for caller in callers {
            assert_same_bits(&caller.join().expect("no panic"), &expected);
        }
    });
}

#[test]
fn prompts_are_put_before_texts() {
    let folder = goldens("sentence-transformers/mean");
    let load = || SentenceEmbeddings::builder().model(folder.as_path());
    let plain = load().build().expect("it loads");
    let prompted = load().prompt("the ").build().expect("it loads");
    assert_eq!(prompted.encode(&["cat"]).expect("text"), plain.encode(&["the cat"]).expect("text"));
    let message = load().prompt_name("mine").build().expect_err("it has no such prompt").to_string();
    assert!(message.contains("\"mine\"") && message.contains("query"), "{message}");
}

#[test]
fn progress_counts_up_to_all_and_cancelling_stops() {
    let model = model(1, 100);
    let texts = texts();
    let mut seen = Vec::new();
    let mut watch = |progress: Progress| seen.push(progress);
    model.encode_with(&texts, Control { progress: Some(&mut watch), cancel: None }).expect("text");
    assert!(seen.is_sorted_by(|a, b| a.done < b.done), "{seen:?}");
    assert_eq!(seen.last(), Some(&Progress { done: texts.len(), total: texts.len() }));

    let cancel = CancelToken::new();
    let mut stop = |_: Progress| cancel.cancel();
    let error =
        model.encode_with(&texts, Control { progress: Some(&mut stop), cancel: Some(&cancel) }).expect_err("cancelled");
    let Error::Cancelled { done, total } = error else { panic!("{error}") };
    assert_eq!((done, total), (seen[0].done, texts.len()));
}

#[test]
fn no_texts_give_no_embeddings() {
    let embeddings = model(2, 1 << 14).encode::<&str>(&[]).expect("nothing can go wrong");
    assert_eq!((embeddings.len(), embeddings.dim(), embeddings.is_empty()), (0, 384, true));
}
