//! The texts of a small corpus that are closest to a query.
//!
//!     cargo run --release -p loquat --features embedded-model --example semantic_search "how do plants get energy?"

use loquat::{Corpus, Error, SentenceEmbeddings};

fn main() -> Result<(), Error> {
    let query = std::env::args().nth(1).unwrap_or_else(|| "how do plants get energy?".to_owned());
    let texts = [
        "Leaves turn sunlight, water and carbon dioxide into sugar.",
        "The stock market closed lower on Friday.",
        "A heat pump moves warmth from the outside air into the house.",
        "Roots take up water and minerals from the soil.",
        "The goalkeeper saved a penalty in the last minute.",
    ];
    let model = SentenceEmbeddings::builder().build()?;
    let corpus = Corpus::new(model.encode(&texts)?);
    let query_embedding = model.encode(&[&query])?;

    println!("{query}");
    for hit in corpus.search(query_embedding.as_flat(), 3)? {
        println!("{:6.3}  {}", hit.score, texts[hit.index]);
    }
    Ok(())
}
