//! The tokens that may stand behind the masks of a text, by any masked language model.
//!
//!     cargo run --release -p loquat --example fill_mask MODEL "Paris is the [MASK] of France."

use loquat::{Error, FillMask};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(text)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: fill_mask MODEL TEXT");
        return Ok(());
    };
    let model = FillMask::builder().model(folder).build()?;
    for (mask, guesses) in model.predict(&[text])?[0].iter().enumerate() {
        for guess in guesses {
            println!("{mask}  {:6.3}  {}", guess.score, guess.token_str);
        }
    }
    Ok(())
}
