//! Documents in the order in which they answer a query, by any cross-encoder.
//!
//!     cargo run --release -p loquat --example reranking MODEL "What is a loquat?" "A fruit." "A city."

use loquat::{Error, Reranker};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(query)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: reranking MODEL QUERY DOCUMENT...");
        return Ok(());
    };
    let documents: Vec<String> = arguments.collect();
    let model = Reranker::builder().model(folder).build()?;
    for hit in model.rank(&query, &documents)? {
        println!("{:6.3}  {}", hit.score, documents[hit.index]);
    }
    Ok(())
}
