//! Which of several texts goes on from another one, by any model with a head for multiple choice.
//!
//!     cargo run --release -p loquat --example multiple_choice MODEL "A man finds a letter." "He opens it." "He is an umbrella."

use loquat::{Error, MultipleChoice};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(text)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: multiple_choice MODEL TEXT CHOICE...");
        return Ok(());
    };
    let choices: Vec<String> = arguments.collect();
    let model = MultipleChoice::builder().model(folder).build()?;
    for choice in &model.predict(&[(text, &choices[..])])?[0] {
        println!("{:6.3}  {}", choice.score, choices[choice.index]);
    }
    Ok(())
}
