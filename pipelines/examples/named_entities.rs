//! The named entities of a text, by any token classification model; long texts are read in windows.
//!
//!     cargo run --release -p loquat --example named_entities MODEL "My name is Wolfgang and I live in Berlin."

use loquat::{Error, TokenClassification};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(text)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: named_entities MODEL TEXT");
        return Ok(());
    };
    let model = TokenClassification::builder().model(folder).stride(16).build()?;
    for entity in &model.predict(&[&text])?[0] {
        println!("{:6.3}  {}  {}", entity.score, entity.label, &text[entity.bytes.0..entity.bytes.1]);
    }
    Ok(())
}
