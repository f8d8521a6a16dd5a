//! A vocabulary as a JSON object, read straight into its final form.

use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
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

/// Appends a string to one that is there.
struct AppendTo<'a>(&'a mut String);

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
        self.0.push_str(token);
        Ok(())
    }
}
