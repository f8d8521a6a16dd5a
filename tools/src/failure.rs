//! How a command ends when it doesn't succeed.

use std::{error::Error, io, process::ExitCode};

use crate::item::Place;

/// Why a command stopped.
#[derive(Debug)]
pub enum Failure {
    /// The command line asks for something that can't be: exit 2.
    Usage(String),
    /// The work failed: exit 1. The message is the whole story, causes included.
    Failed(String),
    /// Whoever read our output has gone (`| head`): nothing to say, and not an error of ours.
    OutputClosed,
}

impl Failure {
    /// A failure of the work, with the causes of `error` appended.
    pub fn from_error(error: &(dyn Error + 'static)) -> Self {
        Failure::Failed(loquat::error_chain(error))
    }

    /// A failure whose message begins with where it happened.
    pub fn at(place: impl std::fmt::Display, error: &(dyn Error + 'static)) -> Self {
        Failure::Failed(format!("{place}: {}", loquat::error_chain(error)))
    }

    /// A failure of encoding texts, in terms of where the texts stood.
    pub fn of_texts(error: loquat::Error, places: &[Place]) -> Self {
        match &error {
            loquat::Error::Text { index, problem } if *index < places.len() => Failure::at(&places[*index], problem),
            _ => Failure::from_error(&error),
        }
    }

    /// Says on stderr what there is to say, and gives the exit status.
    pub fn report(self) -> ExitCode {
        match self {
            Failure::Usage(message) => {
                eprintln!("loquat: {message}\n\nFor more information, try '--help'.");
                ExitCode::from(2)
            }
            Failure::Failed(message) => {
                eprintln!("loquat: {message}");
                ExitCode::from(1)
            }
            Failure::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

impl From<loquat::Error> for Failure {
    fn from(error: loquat::Error) -> Self {
        Failure::from_error(&error)
    }
}

/// What writing to stdout can end in.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::OutputClosed
        } else {
            Failure::Failed(format!("can't write to stdout: {error}"))
        }
    }
}
