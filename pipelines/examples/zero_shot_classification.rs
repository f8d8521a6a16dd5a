//! Labels of one's own for a text, by any model for inference between two texts.
//!
//!     cargo run --release -p loquat --example zero_shot_classification MODEL "The match ended in a draw." sports politics weather

use loquat::{Error, ZeroShotClassification};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(text)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: zero_shot_classification MODEL TEXT LABEL...");
        return Ok(());
    };
    let labels: Vec<String> = arguments.collect();
    let model = ZeroShotClassification::builder().model(folder).build()?;
    for label in &model.predict(&[text], &labels)?[0] {
        println!("{:6.3}  {}", label.score, label.label);
    }
    Ok(())
}
