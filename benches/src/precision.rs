//! How exactly the contenders compute.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::Error;

/// The arithmetic of matrix products, the same for all contenders of a comparison.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// `f32`.
    #[default]
    F32,
    /// Results near those of `f32` out of products of `bf16`: loquat's alone, so its peers compute in `f32`.
    Bf16x3,
    /// `bf16` products, `f32` sums.
    Bf16,
    /// Weights and activations in 8 bits; what a contender doesn't quantise is in its next best precision.
    Int8,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 4] = [Precision::F32, Precision::Bf16x3, Precision::Bf16, Precision::Int8];

    /// The name on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16x3 => "bf16x3",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
        }
    }

    /// What loquat's peers compute in.
    pub fn of_peers(self) -> Precision {
        if self == Precision::Bf16x3 { Precision::F32 } else { self }
    }

    /// The cosine with `f32` that each embedding must reach for a contender to be timed: far below what a right computation gives, above
    /// what a wrong one does.
    pub fn least_cosine(self) -> f64 {
        match self {
            Precision::F32 | Precision::Bf16x3 => 0.9999,
            Precision::Bf16 => 0.999,
            Precision::Int8 => 0.9,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Precision, Error> {
        let found = Precision::ALL.into_iter().find(|precision| precision.name() == name);
        let known = Precision::ALL.map(Precision::name).join(", ");
        found.ok_or_else(|| format!("no precision {name}: there are {known}").into())
    }
}
