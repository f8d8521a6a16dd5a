//! The tokens that play a part for a model.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A token with its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecialToken {
    /// Its text.
    pub content: String,
    /// Its id.
    pub id: u32,
}

impl fmt::Display for SpecialToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.content, self.id)
    }
}

/// Which tokens play which part, as far as the files say and the vocabulary has them.
///
/// A folder says it in `special_tokens_map.json` and `tokenizer_config.json`. Where no file names a token for a part, the
/// name that BERT's family uses stands in, if the vocabulary has it.
///
/// ```
/// # let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n,\n!\n##s\n";
/// # let tokenizer = loquat_tokenizer::Tokenizer::from_vocab("vocab.txt", vocabulary.as_bytes())?;
/// let mask = tokenizer.special_tokens().mask.as_ref().map(|token| token.id);
/// assert_eq!(mask, Some(4));
/// # Ok::<(), loquat_tokenizer::TokenizerError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SpecialTokens {
    /// Begins a text.
    pub cls: Option<SpecialToken>,
    /// Ends a text, and stands between two.
    pub sep: Option<SpecialToken>,
    /// Fills up a batch.
    pub pad: Option<SpecialToken>,
    /// Stands for a token to guess.
    pub mask: Option<SpecialToken>,
    /// Stands for what the vocabulary lacks.
    pub unk: Option<SpecialToken>,
    /// Begins a generated text.
    pub bos: Option<SpecialToken>,
    /// Ends a generated text.
    pub eos: Option<SpecialToken>,
}

/// The names of the special tokens by part, before they are looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpecialNames {
    pub(crate) cls: Option<String>,
    pub(crate) sep: Option<String>,
    pub(crate) pad: Option<String>,
    pub(crate) mask: Option<String>,
    pub(crate) unk: Option<String>,
    pub(crate) bos: Option<String>,
    pub(crate) eos: Option<String>,
}

impl SpecialNames {
    /// The names that BERT's family uses.
    pub(crate) fn bert() -> Self {
        let name = |name: &str| Some(name.to_owned());
        SpecialNames {
            cls: name("[CLS]"),
            sep: name("[SEP]"),
            pad: name("[PAD]"),
            mask: name("[MASK]"),
            unk: name("[UNK]"),
            bos: None,
            eos: None,
        }
    }

    /// Whether a part has this name.
    pub(crate) fn contains(&self, content: &str) -> bool {
        let parts = [&self.cls, &self.sep, &self.pad, &self.mask, &self.unk, &self.bos, &self.eos];
        parts.into_iter().flatten().any(|name| name == content)
    }

    /// Each name of `self`, or that of `other` where `self` has none.
    pub(crate) fn or(self, other: SpecialNames) -> Self {
        SpecialNames {
            cls: self.cls.or(other.cls),
            sep: self.sep.or(other.sep),
            pad: self.pad.or(other.pad),
            mask: self.mask.or(other.mask),
            unk: self.unk.or(other.unk),
            bos: self.bos.or(other.bos),
            eos: self.eos.or(other.eos),
        }
    }

    /// The tokens that `id_of` knows.
    pub(crate) fn resolve(self, id_of: impl Fn(&str) -> Option<u32>) -> SpecialTokens {
        let resolve = |name: Option<String>| {
            let content = name?;
            let id = id_of(&content)?;
            Some(SpecialToken { content, id })
        };
        SpecialTokens {
            cls: resolve(self.cls),
            sep: resolve(self.sep),
            pad: resolve(self.pad),
            mask: resolve(self.mask),
            unk: resolve(self.unk),
            bos: resolve(self.bos),
            eos: resolve(self.eos),
        }
    }
}
