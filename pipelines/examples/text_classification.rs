//! The label of a text, by any sequence classification model.
//!
//!     cargo run --release -p loquat --example text_classification MODEL "I love this."

use loquat::{Error, TextClassification, TopK};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(text)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: text_classification MODEL TEXT");
        return Ok(());
    };
    let model = TextClassification::builder().model(folder).top_k(TopK::All).build()?;
    for label in &model.predict(&[text])?[0] {
        println!("{:6.3}  {}", label.score, label.label);
    }
    Ok(())
}
