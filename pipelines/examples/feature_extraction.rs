//! The tokens of a text, and the length of each one's vector.
//!
//!     cargo run --release -p loquat --example feature_extraction MODEL "Loquats are fruit."

use loquat::{Error, FeatureExtraction};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(text)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: feature_extraction MODEL TEXT");
        return Ok(());
    };
    let model = FeatureExtraction::builder().model(folder).build()?;
    let features = &model.predict(&[text.as_str()])?[0];
    for ((vector, id), &(start, end)) in features.iter().zip(&features.ids).zip(&features.offsets) {
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        println!("{length:6.3}  {id:6}  {}", &text[start..end]);
    }
    Ok(())
}
