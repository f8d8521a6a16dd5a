//! What is done to the tokens at the end: special tokens put around the sequences.

mod template;
mod trim;

pub(crate) use template::{Template, TemplatePiece, Windowed};
pub(crate) use trim::{Trim, Trimmer};

use serde::{Deserialize, Serialize};

/// A post-processor, compiled. Its default adds nothing.
///
/// `BertProcessing`, `RobertaProcessing` and `TemplateProcessing` of `tokenizer.json` are all templates.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PostProcessor {
    pub(crate) single: Template,
    pub(crate) pair: Template,
    /// How offsets are trimmed, where they are.
    pub(crate) trim: Option<Trim>,
}

impl Default for PostProcessor {
    fn default() -> Self {
        let sequence = |index: u8| TemplatePiece::Sequence { index, type_id: u32::from(index) };
        PostProcessor {
            single: Template::new(vec![sequence(0)]),
            pair: Template::new(vec![sequence(0), sequence(1)]),
            trim: None,
        }
    }
}

impl PostProcessor {
    /// `[CLS] A [SEP]` and `[CLS] A [SEP] B [SEP]`, the second sequence of type 1.
    pub(crate) fn bert(cls: u32, sep: u32) -> Self {
        let special = |id, type_id| TemplatePiece::Special { id, type_id };
        let sequence = |index, type_id| TemplatePiece::Sequence { index, type_id };
        let single = [special(cls, 0), sequence(0, 0), special(sep, 0)];
        let second = [sequence(1, 1), special(sep, 1)];
        PostProcessor {
            single: Template::new(single.to_vec()),
            pair: Template::new(single.into_iter().chain(second).collect()),
            trim: None,
        }
    }

    /// `<s> A </s>` and `<s> A </s></s> B </s>`, everything of type 0.
    pub(crate) fn roberta(cls: u32, sep: u32, trim: Option<Trim>) -> Self {
        let special = |id| TemplatePiece::Special { id, type_id: 0 };
        let sequence = |index| TemplatePiece::Sequence { index, type_id: 0 };
        let single = [special(cls), sequence(0), special(sep)];
        let second = [special(sep), sequence(1), special(sep)];
        PostProcessor {
            single: Template::new(single.to_vec()),
            pair: Template::new(single.into_iter().chain(second).collect()),
            trim,
        }
    }

    /// This one, then another; `None` where that isn't the same as one of them alone would do.
    pub(crate) fn then(self, next: PostProcessor) -> Option<Self> {
        let adds = |processor: &PostProcessor| !processor.single.is_plain(1) || !processor.pair.is_plain(2);
        match (self.trim, next.trim) {
            (Some(_), Some(_)) => None,
            _ if !adds(&self) => Some(PostProcessor { trim: next.trim.or(self.trim), ..next }),
            (_, None) if !adds(&next) => Some(self),
            _ => None,
        }
    }

    /// The template for one text or for two.
    pub(crate) fn template(&self, is_pair: bool) -> &Template {
        if is_pair { &self.pair } else { &self.single }
    }
}
