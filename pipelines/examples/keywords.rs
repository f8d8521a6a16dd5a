//! What a text is about.
//!
//!     cargo run --release -p loquat --features embedded-model --example keywords "Rust is a language for systems programming."

use loquat::{Error, KeywordExtraction, KeywordSelection};

fn main() -> Result<(), Error> {
    let text = std::env::args().nth(1).unwrap_or_else(|| {
        "A heat pump moves warmth from the outside air into the house; in summer it cools the house instead.".to_owned()
    });
    let selection = KeywordSelection::MaximalMarginalRelevance { diversity: 0.6 };
    let model = KeywordExtraction::builder().ngram_range(1, 2).selection(selection).build()?;
    for keyword in &model.predict(&[text])?[0] {
        println!("{:6.3}  {}", keyword.score, keyword.keyword);
    }
    Ok(())
}
