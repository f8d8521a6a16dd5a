//! Embeddings of some sentences, and how alike each two of them are.
//!
//!     cargo run --release -p loquat --features embedded-model --example sentence_embeddings [MODEL_FOLDER]

use loquat::{Error, SentenceEmbeddings, similarity};

fn main() -> Result<(), Error> {
    let mut builder = SentenceEmbeddings::builder();
    if let Some(folder) = std::env::args().nth(1) {
        builder = builder.model(folder);
    }
    let model = builder.build()?;

    let texts = [
        "A man is eating food.",
        "Somebody is having a meal.",
        "The girl is carrying a baby.",
        "A woman is playing the violin.",
    ];
    let embeddings = model.encode(&texts)?;
    println!("{} embeddings of {} values\n", embeddings.len(), embeddings.dim());
    for (text, row) in texts.iter().zip(&embeddings) {
        let scores: Vec<String> = embeddings
            .iter()
            .map(|other| similarity(row, other).map(|s| format!("{s:6.3}")))
            .collect::<Result<_, _>>()?;
        println!("{}  {text}", scores.join(" "));
    }
    Ok(())
}
