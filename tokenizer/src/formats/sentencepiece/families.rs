//! The tokenizers that are published with a SentencePiece model, and what each makes of it.

use super::languages;
use crate::special_tokens::SpecialNames;

/// How text is normalized, beside the model's own character map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Normalization {
    /// White space off the end, several spaces as one.
    Plain,
    /// Quotation marks made plain, accents dropped; several spaces as one.
    Albert { lowers: bool },
    /// White space off both ends, several spaces as one.
    Deberta,
    /// Quotation marks made plain, several spaces as one, and only then the model's map.
    RemBert,
    /// Spaces made visible, and one put before the text; nothing else.
    Llama,
    /// Spaces made visible; nothing else.
    Gemma,
    /// As SentencePiece itself has it: white space off both ends, several spaces as one.
    SentencePiece,
}

/// How normalized text is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    AtSpaces,
    AtWhiteSpace,
    /// At spaces and, where the folder says so, at punctuation.
    Deberta,
    /// Not at all.
    Llama,
    /// After spaces, of which none are left.
    Gemma,
    /// At spaces, unless pieces reach over them: as SentencePiece itself, which takes a text as one word.
    AsPieces,
}

/// Pieces after the model's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    None,
    /// `<mask>`
    Mask,
    /// `<extra_id_99>` to `<extra_id_0>`
    ExtraIds,
    /// `<madeupword0>` to `<madeupword6>`
    MadeUpWords,
    /// The first languages of mBART, and `<mask>`.
    Languages {
        count: usize,
    },
}

/// What a tokenizer makes of a SentencePiece model.
#[derive(Debug)]
pub(super) struct Family {
    /// The names of its classes, without `Tokenizer`, and of its models in `config.json`.
    classes: &'static [&'static str],
    model_types: &'static [&'static str],
    /// Pieces before the model's own.
    pub(super) head: &'static [(&'static str, f64)],
    /// Further ones, `<unk_2>` up to this number.
    pub(super) unused_until: u32,
    /// How many of the model's own are left out.
    pub(super) dropped: usize,
    pub(super) tail: Tail,
    /// The unknown piece, where it isn't the model's own, moved by `unk_offset`.
    pub(super) unk_id: Option<u32>,
    pub(super) unk_offset: u32,
    /// Whether pieces that are a number with a comma are made unlikely.
    pub(super) lowers_numbers: bool,
    pub(super) normalization: Normalization,
    pub(super) words: Words,
    /// For one text and for two. Of the Llama family, `$bos` and `$eos` are there as the folder says.
    pub(super) templates: Option<(&'static str, &'static str)>,
    /// Whether the ids of pieces are those of a `vocab.json`.
    pub(super) ids_elsewhere: bool,
    /// The language where the folder names none.
    pub(super) language: &'static str,
    /// What stands around the name of a language in its token.
    pub(super) language_marks: &'static str,
    /// Tokens beyond the vocabulary.
    pub(super) languages_beyond: &'static str,
    pub(super) beyond: &'static [&'static str],
    /// User-defined pieces that are special tokens.
    pub(super) special_pieces: &'static [&'static str],
    /// Whether white space before the mask belongs to it.
    pub(super) mask_takes_space: bool,
    /// bos, eos, unk, sep, pad, cls, mask; empty for none.
    names: [&'static str; 7],
}

impl Family {
    /// The names of its special tokens where the folder names none.
    pub(super) fn names(&self) -> SpecialNames {
        let [bos, eos, unk, sep, pad, cls, mask] = self.names.map(|name| (!name.is_empty()).then(|| name.to_owned()));
        SpecialNames { cls, sep, pad, mask, unk, bos, eos }
    }
}

/// The family of a class as `tokenizer_config.json` names it.
pub(super) fn of_class(class: &str) -> Option<&'static Family> {
    let name = class.strip_suffix("Fast").unwrap_or(class).strip_suffix("Tokenizer")?;
    FAMILIES.iter().find(|family| family.classes.contains(&name))
}

/// The family of a model as `config.json` names it.
pub(super) fn of_model(model_type: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.model_types.contains(&model_type))
}

pub(super) const NAMES: &str = "Albert, Barthez, BigBird, Camembert, DebertaV2, Gemma, Llama, M2M100, Marian, MBart, MBart50, Nllb, \
    Pegasus, Reformer, RemBert, T5, MT5, XGLM, XLMRoberta, XLNet";

/// What most have: the names of fairseq.
const FAIRSEQ_NAMES: [&str; 7] = ["<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"];
const FAIRSEQ_HEAD: &[(&str, f64)] = &[("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)];
const ROBERTA: (&str, &str) = ("$cls $A $sep", "$cls $A $sep $sep $B $sep");
const BERT: (&str, &str) = ("$cls $A $sep", "$cls $A $sep $B:1 $sep:1");

/// The model as it is: no tokens but its own.
const PLAIN: Family = Family {
    classes: &[],
    model_types: &[],
    head: &[],
    unused_until: 0,
    dropped: 0,
    tail: Tail::None,
    unk_id: None,
    unk_offset: 0,
    lowers_numbers: false,
    normalization: Normalization::Plain,
    words: Words::AtSpaces,
    templates: None,
    ids_elsewhere: false,
    language: "",
    language_marks: "",
    languages_beyond: "",
    beyond: &[],
    special_pieces: &[],
    mask_takes_space: false,
    names: [""; 7],
};

/// A file alone.
pub(super) const ALONE: Family = Family { words: Words::AsPieces, ..PLAIN };

/// fairseq's order of the special pieces, before a model whose first three are left out.
const FAIRSEQ: Family =
    Family { head: FAIRSEQ_HEAD, dropped: 3, unk_id: Some(3), mask_takes_space: true, names: FAIRSEQ_NAMES, ..PLAIN };

const ALBERT: Family = Family {
    classes: &["Albert"],
    model_types: &["albert"],
    lowers_numbers: true,
    normalization: Normalization::Albert { lowers: true },
    templates: Some(BERT),
    mask_takes_space: true,
    names: ["[CLS]", "[SEP]", "<unk>", "[SEP]", "<pad>", "[CLS]", "[MASK]"],
    ..PLAIN
};

const FAMILIES: &[Family] = &[
    ALBERT,
    Family {
        classes: &["Barthez"],
        model_types: &[],
        unk_id: Some(3),
        templates: Some(ROBERTA),
        mask_takes_space: true,
        names: FAIRSEQ_NAMES,
        ..PLAIN
    },
    Family {
        classes: &["BigBird"],
        model_types: &["big_bird"],
        templates: Some(BERT),
        mask_takes_space: true,
        names: ["<s>", "</s>", "<unk>", "[SEP]", "<pad>", "[CLS]", "[MASK]"],
        ..PLAIN
    },
    Family {
        classes: &["Camembert"],
        model_types: &["camembert"],
        head: &[("<s>NOTUSED", 0.0), ("<pad>", 0.0), ("</s>NOTUSED", 0.0), ("<unk>", 0.0), ("<unk>NOTUSED", -100.0)],
        dropped: 1,
        tail: Tail::Mask,
        templates: Some(ROBERTA),
        ..FAIRSEQ
    },
    Family {
        classes: &["DebertaV2"],
        model_types: &["deberta-v2"],
        normalization: Normalization::Deberta,
        words: Words::Deberta,
        templates: Some(BERT),
        names: ["[CLS]", "[SEP]", "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"],
        ..PLAIN
    },
    Family {
        classes: &["Gemma"],
        model_types: &["gemma", "gemma2"],
        unk_id: Some(3),
        normalization: Normalization::Gemma,
        words: Words::Gemma,
        templates: Some(("$bos $A $eos", "$bos $A $eos $bos:1 $B:1 $eos:1")),
        special_pieces: &["<start_of_turn>", "<end_of_turn>"],
        names: ["<bos>", "<eos>", "<unk>", "", "<pad>", "", ""],
        ..PLAIN
    },
    Family {
        classes: &["Llama"],
        model_types: &["llama", "mistral"],
        normalization: Normalization::Llama,
        words: Words::Llama,
        templates: Some(("$bos $A $eos", "$bos $A $eos $bos:1 $B:1 $eos:1")),
        names: ["<s>", "</s>", "<unk>", "", "", "", ""],
        ..PLAIN
    },
    Family {
        classes: &["M2M100"],
        model_types: &["m2m_100"],
        normalization: Normalization::SentencePiece,
        templates: Some(("$lang $A $eos", "$lang $A $B $eos")),
        ids_elsewhere: true,
        language: "en",
        language_marks: "__",
        languages_beyond: languages::M2M100,
        names: ["<s>", "</s>", "<unk>", "</s>", "<pad>", "", ""],
        ..PLAIN
    },
    Family {
        classes: &["Marian"],
        model_types: &["marian"],
        normalization: Normalization::SentencePiece,
        templates: Some(("$A $eos", "$A $B $eos")),
        ids_elsewhere: true,
        names: ["", "</s>", "<unk>", "", "<pad>", "", ""],
        ..PLAIN
    },
    Family {
        classes: &["MBart"],
        model_types: &["mbart"],
        tail: Tail::Languages { count: 25 },
        templates: Some(("$A $eos $lang", "$A $B $eos $lang")),
        language: "en_XX",
        ..FAIRSEQ
    },
    Family {
        classes: &["MBart50"],
        model_types: &[],
        tail: Tail::Languages { count: 52 },
        templates: Some(("$lang $A $eos", "$lang $A $B $eos")),
        language: "en_XX",
        ..FAIRSEQ
    },
    Family {
        classes: &["Nllb"],
        model_types: &[],
        templates: Some(("$lang $A $eos", "$lang $A $B $eos")),
        language: "eng_Latn",
        languages_beyond: languages::NLLB,
        ..FAIRSEQ
    },
    Family {
        classes: &["Pegasus"],
        model_types: &["pegasus"],
        head: &[("<pad>", 0.0), ("</s>", 0.0), ("<mask_1>", 0.0), ("<mask_2>", 0.0)],
        unused_until: 103,
        dropped: 2,
        unk_offset: 103,
        words: Words::AtWhiteSpace,
        templates: Some(("$A $eos", "$A $B $eos")),
        names: ["", "</s>", "<unk>", "", "<pad>", "", "<mask_2>"],
        ..PLAIN
    },
    Family {
        classes: &["Reformer"],
        model_types: &["reformer"],
        names: ["<s>", "</s>", "<unk>", "", "", "", ""],
        ..PLAIN
    },
    Family {
        classes: &["RemBert"],
        model_types: &["rembert"],
        normalization: Normalization::RemBert,
        templates: Some(BERT),
        mask_takes_space: true,
        names: ["[CLS]", "[SEP]", "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"],
        ..PLAIN
    },
    Family {
        classes: &["T5", "MT5"],
        model_types: &["t5", "mt5"],
        tail: Tail::ExtraIds,
        templates: Some(("$A $eos", "$A $eos $B $eos")),
        names: ["", "</s>", "<unk>", "", "<pad>", "", ""],
        ..PLAIN
    },
    Family {
        classes: &["XGLM"],
        model_types: &["xglm"],
        tail: Tail::MadeUpWords,
        templates: Some(("$eos $A", "$eos $A $eos $eos $B")),
        mask_takes_space: false,
        names: ["<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", ""],
        ..FAIRSEQ
    },
    Family {
        classes: &["XLMRoberta"],
        model_types: &["xlm-roberta"],
        tail: Tail::Mask,
        templates: Some(ROBERTA),
        ..FAIRSEQ
    },
    Family {
        classes: &["XLNet"],
        model_types: &["xlnet"],
        normalization: Normalization::Albert { lowers: false },
        templates: Some(("$A $sep $cls:2", "$A $sep $B:1 $sep:1 $cls:2")),
        names: ["<s>", "</s>", "<unk>", "<sep>", "<pad>", "<cls>", "<mask>"],
        ..ALBERT
    },
];
