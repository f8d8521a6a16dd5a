//! The parts of speech of a text's words, by any model that labels tokens with them.
//!
//!     cargo run --release -p loquat --example parts_of_speech MODEL "My name is Sarah."

use loquat::{AggregationStrategy, Error, TokenClassification};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(text)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: parts_of_speech MODEL TEXT");
        return Ok(());
    };
    let no_labels: [&str; 0] = [];
    let model = TokenClassification::builder()
        .model(folder)
        .aggregation_strategy(AggregationStrategy::Words)
        .ignore_labels(no_labels)
        .build()?;
    for word in &model.predict(&[&text])?[0] {
        println!("{:6.3}  {:8}  {}", word.score, word.label, &text[word.bytes.0..word.bytes.1]);
    }
    Ok(())
}
