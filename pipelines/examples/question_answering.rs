//! The answer to a question, found in a context, by any extractive question answering model.
//!
//!     cargo run --release -p loquat --example question_answering MODEL "Where do I live?" "My name is Wolfgang and I live in Berlin."

use loquat::{Error, QuestionAnswering};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(question), Some(context)) = (arguments.next(), arguments.next(), arguments.next()) else {
        eprintln!("usage: question_answering MODEL QUESTION CONTEXT");
        return Ok(());
    };
    let model = QuestionAnswering::builder().model(folder).top_k(3).build()?;
    for answer in &model.predict(&[(question, context)])?[0] {
        println!("{:6.3}  {}..{}  {}", answer.score, answer.start, answer.end, answer.answer);
    }
    Ok(())
}
