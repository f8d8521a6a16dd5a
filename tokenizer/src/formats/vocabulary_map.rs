//! A vocabulary as a JSON object or list, read straight into its final form.

use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::models::vocabulary::{VocabularyBuilder, VocabularyFault};

/// `{"token": id, …}`. No copy of any token is made on the way.
pub(super) struct VocabularyMap(pub(super) VocabularyBuilder);

impl<'de> Deserialize<'de> for VocabularyMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MapVisitor)
    }
}

struct MapVisitor;

impl<'de> Visitor<'de> for MapVisitor {
    type Value = VocabularyMap;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a map from tokens to ids")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<VocabularyMap, M::Error> {
        let mut builder = VocabularyBuilder::default();
        while map.next_key_seed(AppendTo(builder.text_mut()))?.is_some() {
            let id = map.next_value::<u32>()?;
            builder.finish_token(id).map_err(|fault| match fault {
                VocabularyFault::TooLarge => Error::custom("expected less than 4 GiB of tokens"),
                fault => Error::custom(format!("{fault:?}")),
            })?;
        }
        Ok(VocabularyMap(builder))
    }
}

/// `[["piece", score], …]`; the id of a piece is its place.
#[derive(Default)]
pub(super) struct ScoredPieces {
    pub(super) pieces: VocabularyBuilder,
    pub(super) scores: Vec<f64>,
}

impl ScoredPieces {
    /// Adds all pieces of another after these. `None` where they are too many.
    pub(super) fn append(&mut self, other: Self) -> Option<()> {
        self.pieces.append(other.pieces, u32::try_from(self.scores.len()).ok()?).ok()?;
        self.scores.extend_from_slice(&other.scores);
        Some(())
    }
}

impl<'de> Deserialize<'de> for ScoredPieces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(PiecesVisitor)
    }
}

struct PiecesVisitor;

impl<'de> Visitor<'de> for PiecesVisitor {
    type Value = ScoredPieces;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of pieces with their scores")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<ScoredPieces, S::Error> {
        let mut all = ScoredPieces::default();
        while list.next_element_seed(AppendPiece(&mut all))?.is_some() {}
        Ok(all)
    }
}

/// Appends one `["piece", score]`.
struct AppendPiece<'a>(&'a mut ScoredPieces);

impl<'de> DeserializeSeed<'de> for AppendPiece<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for AppendPiece<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a piece and its score")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut pair: S) -> Result<(), S::Error> {
        let ScoredPieces { pieces, scores } = self.0;
        let too_short = |len| S::Error::invalid_length(len, &"a piece and its score");
        pair.next_element_seed(AppendTo(pieces.text_mut()))?.ok_or_else(|| too_short(0))?;
        let score = pair.next_element::<f64>()?.ok_or_else(|| too_short(1))?;
        let id = u32::try_from(scores.len()).map_err(|_| S::Error::custom("expected fewer than 2^32 pieces"))?;
        pieces.finish_token(id).map_err(|_| S::Error::custom("expected less than 4 GiB of pieces"))?;
        scores.push(score);
        Ok(())
    }
}

/// Appends a string to one that is there.
struct AppendTo<'a>(&'a mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for AppendTo<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for AppendTo<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a token")
    }

    fn visit_str<E: Error>(self, token: &str) -> Result<(), E> {
        self.0.extend_from_slice(token.as_bytes());
        Ok(())
    }
}
