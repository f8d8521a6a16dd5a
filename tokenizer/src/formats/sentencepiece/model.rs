//! The `.model` file of SentencePiece: pieces with scores, and how text is normalized.

use crate::TokenizerError;
use crate::formats::protobuf::{Fields, Value, WireFault};

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PieceKind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

#[derive(Debug)]
pub(super) struct ModelPiece {
    pub(super) text: String,
    pub(super) score: f32,
    pub(super) kind: PieceKind,
}

/// How the model was trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Unigram,
    Bpe,
}

/// What a `.model` file says, as far as it matters for encoding and decoding.
#[derive(Debug)]
pub(super) struct SentencePieceModel {
    pub(super) pieces: Vec<ModelPiece>,
    pub(super) algorithm: Algorithm,
    pub(super) byte_fallback: bool,
    pub(super) unk_id: i32,
    pub(super) unk_piece: String,
    pub(super) precompiled_charsmap: Vec<u8>,
    pub(super) add_dummy_prefix: bool,
    pub(super) remove_extra_whitespaces: bool,
}

/// Reads fields and names the file and the place where they aren't what they should be.
struct Reader<'a> {
    name: &'a str,
}

impl Reader<'_> {
    fn invalid(&self, at: usize, expected: &str, found: impl Into<String>) -> TokenizerError {
        TokenizerError::Invalid {
            file: self.name.to_owned(),
            path: format!("byte {at}"),
            expected: expected.to_owned(),
            found: found.into(),
        }
    }

    fn each<'b>(
        &self,
        message: &'b [u8],
        base: usize,
        mut take: impl FnMut(usize, u64, Value<'b>) -> Result<(), TokenizerError>,
    ) -> Result<(), TokenizerError> {
        let mut fields = Fields::new(message, base);
        let fault = |fault: WireFault| self.invalid(fault.at, fault.expected, "none: the file is damaged");
        while let Some((at, number, value)) = fields.next().map_err(fault)? {
            take(at, number, value)?;
        }
        Ok(())
    }

    fn bytes<'b>(&self, at: usize, value: Value<'b>) -> Result<&'b [u8], TokenizerError> {
        match value {
            Value::Bytes(bytes) => Ok(bytes),
            other => Err(self.invalid(at, "a field of bytes", format!("{other:?}"))),
        }
    }

    fn text(&self, at: usize, value: Value) -> Result<String, TokenizerError> {
        let bytes = self.bytes(at, value)?;
        let text = std::str::from_utf8(bytes);
        text.map(str::to_owned).map_err(|error| {
            let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
            self.invalid(at + error.valid_up_to(), "UTF-8", format!("the byte 0x{byte:02X}, which is not"))
        })
    }

    fn number(&self, at: usize, value: Value) -> Result<u64, TokenizerError> {
        match value {
            Value::Varint(number) => Ok(number),
            other => Err(self.invalid(at, "a number", format!("{other:?}"))),
        }
    }

    fn piece(&self, message: &[u8], base: usize) -> Result<ModelPiece, TokenizerError> {
        let mut piece = ModelPiece { text: String::new(), score: 0.0, kind: PieceKind::Normal };
        self.each(message, base, |at, number, value| {
            match number {
                1 => piece.text = self.text(at, value)?,
                2 => {
                    let Value::Fixed32(bits) = value else {
                        return Err(self.invalid(at, "a score of 32 bits", format!("{value:?}")));
                    };
                    piece.score = f32::from_bits(bits);
                    if !piece.score.is_finite() {
                        return Err(self.invalid(at, "a finite score", piece.score.to_string()));
                    }
                }
                3 => {
                    piece.kind = match self.number(at, value)? {
                        1 => PieceKind::Normal,
                        2 => PieceKind::Unknown,
                        3 => PieceKind::Control,
                        4 => PieceKind::UserDefined,
                        5 => PieceKind::Unused,
                        6 => PieceKind::Byte,
                        other => return Err(self.invalid(at, "a type of piece from 1 to 6", other.to_string())),
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(piece)
    }
}

impl SentencePieceModel {
    /// `name` is what errors call the file.
    pub(super) fn parse(name: &str, bytes: &[u8]) -> Result<Self, TokenizerError> {
        let reader = &Reader { name };
        let mut model = SentencePieceModel {
            pieces: Vec::new(),
            algorithm: Algorithm::Unigram,
            byte_fallback: false,
            unk_id: 0,
            unk_piece: "<unk>".to_owned(),
            precompiled_charsmap: Vec::new(),
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
        };
        reader.each(bytes, 0, |at, number, value| {
            match number {
                1 => model.pieces.push(reader.piece(reader.bytes(at, value)?, at)?),
                2 => model.trainer_spec(reader, reader.bytes(at, value)?, at)?,
                3 => model.normalizer_spec(reader, reader.bytes(at, value)?, at)?,
                _ => {}
            }
            Ok(())
        })?;
        if model.pieces.is_empty() {
            return Err(reader.invalid(0, "a SentencePiece model with pieces", "one without"));
        }
        Ok(model)
    }

    fn trainer_spec(&mut self, reader: &Reader, message: &[u8], base: usize) -> Result<(), TokenizerError> {
        reader.each(message, base, |at, number, value| {
            match number {
                3 => {
                    self.algorithm = match reader.number(at, value)? {
                        1 => Algorithm::Unigram,
                        2 => Algorithm::Bpe,
                        other => {
                            let expected = "a model of type 1 (unigram) or 2 (bpe)";
                            return Err(reader.invalid(at, expected, other.to_string()));
                        }
                    }
                }
                24 if reader.number(at, value)? != 0 => {
                    return Err(reader.invalid(at, "a model that marks words at their beginning", "one that doesn't"));
                }
                35 => self.byte_fallback = reader.number(at, value)? != 0,
                // Negative numbers have all their upper bits set.
                40 => self.unk_id = reader.number(at, value)? as i32,
                45 => self.unk_piece = reader.text(at, value)?,
                _ => {}
            }
            Ok(())
        })
    }

    fn normalizer_spec(&mut self, reader: &Reader, message: &[u8], base: usize) -> Result<(), TokenizerError> {
        reader.each(message, base, |at, number, value| {
            match number {
                2 => self.precompiled_charsmap = reader.bytes(at, value)?.to_vec(),
                3 => self.add_dummy_prefix = reader.number(at, value)? != 0,
                4 => self.remove_extra_whitespaces = reader.number(at, value)? != 0,
                5 if reader.number(at, value)? == 0 => {
                    return Err(reader.invalid(at, "a model that escapes spaces", "one that doesn't"));
                }
                _ => {}
            }
            Ok(())
        })
    }
}
