//! A `tokenizer.json` in one pass: its vocabulary and merges, which are nearly all of it, straight into their lists, and an outline of the
//! rest.
//!
//! This reads files that are well formed and written in the usual way. Whatever it gives up on, `serde_json` reads again, more slowly, and
//! says what is wrong and where.

use std::ops::Range;

use aho_corasick::AhoCorasick;

use super::vocabulary_map::ScoredPieces;
use crate::both::both;
use crate::models::vocabulary::VocabularyBuilder;
use crate::models::{MergeList, MergeTable, Resolver, ShortTokens, Vocabulary, only_space};

/// A list of so many bytes is worth a second thread.
const MANY: usize = 1 << 18;

/// A token of a vocabulary, with its id, takes about as many bytes.
const TOKEN: usize = 16;

/// So many bytes are looked through for the beginning of an element.
const SEARCHED: usize = 1 << 12;

/// Older files have this line of `merges.txt` among the merges.
const VERSION: &[u8] = b"#version";

/// What a file says but for its vocabulary and merges, which are empty here, and these.
pub(super) struct Outline {
    pub(super) text: String,
    pub(super) large: Large,
}

/// The vocabulary and the merges of a model.
#[derive(Default)]
pub(super) struct Large {
    pub(super) vocabulary: Option<LargeVocabulary>,
    pub(super) merges: Option<LargeMerges>,
}

/// `vocab` of the model.
pub(super) enum LargeVocabulary {
    /// `{"token": id, …}`
    Map(VocabularyBuilder),
    /// What such a map of many tokens became.
    Made(Vocabulary),
    /// `[["piece", score], …]`
    Pieces(ScoredPieces),
}

/// `merges` of the model.
pub(super) enum LargeMerges {
    List(MergeList),
    /// What they are in the vocabulary that was made, where continuations have no prefix.
    Table(MergeTable),
}

impl Outline {
    /// `None` where the file isn't written in the usual way.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        Self::read_with(bytes, MANY)
    }

    /// A list of `many` bytes is read in two halves.
    pub(super) fn read_with(bytes: &[u8], many: usize) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0, many };
        let mut large = Large::default();
        let mut rest = Rest { text: Vec::new(), end: 0 };
        reader.object(|reader, key| {
            if key != b"model" || reader.peek() != Some(b'{') {
                return reader.skip();
            }
            reader.object(|reader, key| {
                let begin = reader.peek()?;
                // What comes again is an error, and looking far ahead for each would take long.
                match key {
                    b"vocab" if large.vocabulary.is_some() => return None,
                    b"merges" if large.merges.is_some() => return None,
                    _ => {}
                }
                rest.text.extend_from_slice(match (key, begin) {
                    (b"vocab" | b"merges", b'{' | b'[') => bytes.get(rest.end..=reader.at)?,
                    _ => return reader.skip(),
                });
                match (key, begin) {
                    (b"vocab", b'{') => large.vocabulary = Some(LargeVocabulary::Map(reader.vocabulary()?)),
                    (b"vocab", _) => large.vocabulary = Some(LargeVocabulary::Pieces(reader.pieces()?)),
                    _ => large = reader.merges_after(large.vocabulary.take())?,
                }
                rest.end = reader.at - 1;
                Some(())
            })
        })?;
        rest.text.extend_from_slice(bytes.get(rest.end..)?);
        Some(Outline { text: String::from_utf8(rest.text).ok()?, large })
    }
}

/// Reads a file that is a map from tokens to ids. `None` where it isn't written in the usual way.
pub(super) fn vocabulary(bytes: &[u8]) -> Option<VocabularyBuilder> {
    let mut reader = Reader { bytes, at: 0, many: MANY };
    reader.white_space();
    let builder = reader.vocabulary()?;
    reader.white_space();
    reader.peek().is_none().then_some(builder)
}

/// The text of an outline, and to which byte of the file it goes.
struct Rest {
    text: Vec<u8>,
    end: usize,
}

/// Goes through a file. Its methods give `None` for what they don't understand.
#[derive(Clone, Copy)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// A list of so many bytes is read in two halves.
    many: usize,
}

/// The high bit of each byte that is a quotation mark, a backslash or a control character, exact up to the first.
#[inline]
fn special_bytes(eight: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let below = |eight: u64, limit: u8| eight.wrapping_sub(EACH * u64::from(limit)) & !eight;
    let quote = below(eight ^ (EACH * u64::from(b'"')), 1);
    let backslash = below(eight ^ (EACH * u64::from(b'\\')), 1);
    (quote | backslash | below(eight, 0x20)) & EACH << 7
}

/// The number of eight digits, where all of them are.
#[inline]
fn eight_digits(eight: &[u8; 8]) -> Option<u64> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let eight = u64::from_le_bytes(*eight);
    let digits = eight ^ (EACH * u64::from(b'0'));
    // Of a digit, the upper half is zero, and stays so where 6 is added.
    if (digits | digits.wrapping_add(EACH * 6)) & (EACH * 0xF0) != 0 {
        return None;
    }
    // Neighbours become numbers of two digits, these become numbers of four, and these one.
    let two = (digits * 10 + (digits >> 8)) & 0x00FF_00FF_00FF_00FF;
    let four = (two * 100 + (two >> 16)) & 0x0000_FFFF_0000_FFFF;
    Some((four * 10_000 + (four >> 32)) & 0xFFFF_FFFF)
}

impl<'a> Reader<'a> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    #[inline]
    fn white_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
            // Lines of a file for people begin with many spaces.
            if let Some(eight) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
                let others = u64::from_le_bytes(*eight) ^ u64::from_le_bytes([b' '; 8]);
                self.at += others.trailing_zeros() as usize / 8;
            }
        }
    }

    /// The values of an object, or of an array, between these brackets.
    #[inline]
    fn list(&mut self, [begin, end]: [u8; 2], value: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(begin)?;
        self.white_space();
        if self.take(end).is_some() {
            return Some(());
        }
        self.values(end, usize::MAX, value).map(|_| ())
    }

    /// The values of a list from the beginning of one of them on, to the end; or up to one that begins at `stop`, if one does. Says whether
    /// that was the end.
    #[inline]
    fn values(&mut self, end: u8, stop: usize, mut value: impl FnMut(&mut Self) -> Option<()>) -> Option<bool> {
        loop {
            value(self)?;
            self.white_space();
            match self.peek()? {
                b',' => self.at += 1,
                other => return (other == end).then(|| self.at += 1).map(|()| true),
            }
            self.white_space();
            if self.at == stop {
                return Some(false);
            }
        }
    }

    /// The values of a list that ends about there: all of them, or, where they are many, those of two halves, which two threads read.
    ///
    /// Where the second half begins is a guess. It counts where the first comes to that very place between two values.
    fn halves<T: Send>(
        &mut self,
        [begin, end]: [u8; 2],
        about: usize,
        new: impl Fn() -> T + Sync,
        value: impl Fn(&mut Self, &mut T) -> Option<()> + Sync,
    ) -> Option<(T, Option<T>)> {
        let middle = self.at + about.saturating_sub(self.at) / 2;
        let guess = match about.saturating_sub(self.at) < self.many {
            true => None,
            false => self.beginning_after(middle, |reader| value(reader, &mut new())),
        };
        let Some(stop) = guess else {
            let mut all = new();
            self.list([begin, end], |reader| value(reader, &mut all))?;
            return Some((all, None));
        };
        self.take(begin)?;
        self.white_space();
        if self.take(end).is_some() {
            return Some((new(), None));
        }
        let start = *self;
        let part = |mut reader: Self, stop: usize| {
            let mut all = new();
            let is_end = reader.values(end, stop, |reader| value(reader, &mut all))?;
            Some((all, is_end, reader.at))
        };
        let (first, second) = both(|| part(start, stop), || part(Reader { at: stop, ..start }, usize::MAX));
        let (first, is_end, at) = first?;
        self.at = at;
        if is_end {
            return Some((first, None));
        }
        let (second, _, at) = second?;
        self.at = at;
        Some((first, Some(second)))
    }

    /// Where, some way after `from`, a value of a list seems to begin.
    fn beginning_after(&self, from: usize, value: impl Fn(&mut Self) -> Option<()>) -> Option<usize> {
        let places = from..self.bytes.len().min(from + SEARCHED);
        let commas = places.filter(|&at| self.bytes[at] == b',');
        let after = commas.map(|comma| {
            let mut reader = Reader { at: comma + 1, ..*self };
            reader.white_space();
            reader
        });
        let mut values = after.filter(|&(mut reader)| {
            value(&mut reader).is_some() && {
                reader.white_space();
                reader.peek() == Some(b',')
            }
        });
        values.next().map(|reader| reader.at)
    }

    /// Where the merges of a model begin, that is, about where its vocabulary ends.
    fn merges_begin(&self) -> Option<usize> {
        const KEY: &[u8] = b"\"merges\"";
        let rest = self.bytes.get(self.at..).filter(|rest| rest.len() >= self.many)?;
        let found = AhoCorasick::new([KEY]).ok()?;
        let keys = found.find_iter(rest).map(|found| Reader { at: self.at + found.end(), ..*self });
        let mut lists = keys.filter_map(|mut reader| {
            reader.colon()?;
            (reader.peek() == Some(b'[')).then_some(reader.at)
        });
        lists.next()
    }

    /// `value` reads the value of a key, given as it is written.
    fn object(&mut self, mut value: impl FnMut(&mut Self, &[u8]) -> Option<()>) -> Option<()> {
        self.white_space();
        self.list(*b"{}", |reader| {
            let start = reader.at;
            reader.skip_string()?;
            let key = &reader.bytes[start + 1..reader.at - 1];
            reader.colon()?;
            value(reader, key)
        })
    }

    #[inline]
    fn colon(&mut self) -> Option<()> {
        self.white_space();
        self.take(b':')?;
        self.white_space();
        Some(())
    }

    fn skip_string(&mut self) -> Option<()> {
        self.take(b'"')?;
        loop {
            if let Some(eight) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
                let special = special_bytes(u64::from_le_bytes(*eight));
                self.at += special.trailing_zeros() as usize / 8;
                if special == 0 {
                    continue;
                }
            }
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(())
    }

    /// Goes beyond a value, whatever it is; the outline has it too, so it needn't be right.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0;
        loop {
            match self.peek()? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' | b',' if depth == 0 => return Some(()),
                b'}' | b']' => {
                    depth -= 1;
                    self.at += 1;
                }
                b' ' | b'\n' | b'\r' | b'\t' => self.white_space(),
                _ => self.at += 1,
            }
            if depth == 0 && matches!(self.peek()?, b',' | b'}' | b']') {
                return Some(());
            }
        }
    }

    /// Appends a string.
    #[inline]
    fn string(&mut self, out: &mut Vec<u8>) -> Option<()> {
        self.take(b'"')?;
        loop {
            let eight: Option<&[u8; 8]> = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk);
            if let Some(eight) = eight {
                // Copying all of them, whatever their number, needs no branch.
                out.extend_from_slice(eight);
                let special = special_bytes(u64::from_le_bytes(*eight));
                if special == 0 {
                    self.at += 8;
                    continue;
                }
                let plain = special.trailing_zeros() as usize / 8;
                out.truncate(out.len() - 8 + plain);
                self.at += plain;
            }
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.escape(out)?,
                0..0x20 => return None,
                other => {
                    out.push(other);
                    self.at += 1;
                }
            }
        }
    }

    #[cold]
    fn escape(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let byte = *self.bytes.get(self.at + 1)?;
        self.at += 2;
        out.push(match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let unit = self.utf16()?;
                let c = match unit {
                    0xD800..0xDC00 => {
                        self.take(b'\\')?;
                        self.take(b'u')?;
                        char::decode_utf16([unit, self.utf16()?]).next()?.ok()?
                    }
                    unit => char::from_u32(unit.into())?,
                };
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Some(());
            }
            _ => return None,
        });
        Some(())
    }

    fn utf16(&mut self) -> Option<u16> {
        let digits: &[u8; 4] = self.bytes.get(self.at..)?.first_chunk()?;
        self.at += 4;
        digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)? as u16))
    }

    /// The digits of a number, no more than 19 of them, and how many there are.
    #[inline]
    fn digits(&mut self) -> Option<(u64, usize)> {
        let start = self.at;
        let mut number = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            if self.at - start == 19 {
                return None;
            }
            number = number * 10 + u64::from(digit - b'0');
            self.at += 1;
        }
        Some((number, self.at - start))
    }

    #[inline]
    fn id(&mut self) -> Option<u32> {
        let begins_with_zero = self.peek()? == b'0';
        let (id, digits) = self.digits()?;
        if digits == 0 || begins_with_zero && digits > 1 {
            return None;
        }
        id.try_into().ok()
    }

    /// A number, with the rounding of `serde_json`, which is that of the reference.
    #[inline]
    fn score(&mut self) -> Option<f64> {
        let start = self.at;
        self.fraction().or_else(|| {
            self.at = start;
            while let Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E') = self.peek() {
                self.at += 1;
            }
            serde_json::from_slice(&self.bytes[start..self.at]).ok()
        })
    }

    /// A number with a point and without an exponent.
    #[inline]
    fn fraction(&mut self) -> Option<f64> {
        const POWERS: [f64; 20] = [
            1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
            1e19,
        ];
        let is_negative = self.take(b'-').is_some();
        let whole = self.id()?;
        self.take(b'.')?;
        let mut digits = u64::from(whole);
        let start = self.at;
        while let Some(eight) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk).and_then(eight_digits) {
            digits = digits.checked_mul(100_000_000)?.checked_add(eight)?;
            self.at += 8;
        }
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            digits = digits.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            self.at += 1;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) || self.at == start {
            return None;
        }
        let number = digits as f64 / POWERS.get(self.at - start)?;
        Some(if is_negative { -number } else { number })
    }

    fn vocabulary(&mut self) -> Option<VocabularyBuilder> {
        let end = self.merges_begin().unwrap_or(self.bytes.len());
        let token = |reader: &mut Self, builder: &mut VocabularyBuilder| {
            reader.string(builder.text_mut())?;
            reader.colon()?;
            builder.finish_token(reader.id()?).ok()
        };
        let (mut builder, others) = self.halves(*b"{}", end, VocabularyBuilder::default, token)?;
        if let Some(others) = others {
            builder.append(others, 0).ok()?;
        }
        Some(builder)
    }

    fn pieces(&mut self) -> Option<ScoredPieces> {
        let piece = |reader: &mut Self, all: &mut ScoredPieces| {
            reader.take(b'[')?;
            reader.white_space();
            reader.string(all.pieces.text_mut())?;
            reader.white_space();
            reader.take(b',')?;
            reader.white_space();
            let score = reader.score()?;
            reader.white_space();
            reader.take(b']')?;
            all.pieces.finish_token(all.scores.len().try_into().ok()?).ok()?;
            all.scores.push(score);
            Some(())
        };
        let (mut all, others) = self.halves(*b"[]", self.bytes.len(), ScoredPieces::default, piece)?;
        if let Some(others) = others {
            all.append(others)?;
        }
        Some(all)
    }

    /// Reads the merges; those of a vocabulary of many tokens become what they are in it.
    fn merges_after(&mut self, vocabulary: Option<LargeVocabulary>) -> Option<Large> {
        let builder = match vocabulary {
            Some(LargeVocabulary::Map(builder)) if builder.len() * TOKEN >= self.many => builder,
            vocabulary => {
                let mut merges = MergeList::default();
                self.list(*b"[]", |reader| reader.merge(&mut merges))?;
                return Some(Large { vocabulary, merges: Some(LargeMerges::List(merges)) });
            }
        };
        let (vocabulary, tokens) = builder.build_with(ShortTokens::new).ok()?;
        let new = || Resolver::new(&vocabulary, &tokens, 0, 0);
        let (first, second) = self.halves(*b"[]", self.bytes.len(), new, Reader::resolved_merge)?;
        let ids = |mut resolver: Resolver| {
            resolver.flush(self.bytes).ok()?;
            Some(resolver.finish())
        };
        let merges = [ids(first)?, second.map_or(Some(Vec::new()), ids)?];
        let merges = Some(LargeMerges::Table(MergeTable::new(&merges).ok()?));
        Some(Large { vocabulary: Some(LargeVocabulary::Made(vocabulary)), merges })
    }

    /// Appends a merge.
    fn merge(&mut self, merges: &mut MergeList) -> Option<()> {
        let text = merges.text_mut();
        if self.peek()? == b'"' {
            let start = text.len();
            self.string(text)?;
            if text[start..].starts_with(VERSION) {
                text.truncate(start);
                return Some(());
            }
            return merges.finish_line(start).then_some(());
        }
        self.take(b'[')?;
        self.white_space();
        self.string(text)?;
        let middle = text.len();
        text.push(b' ');
        self.white_space();
        self.take(b',')?;
        self.white_space();
        self.string(text)?;
        self.white_space();
        self.take(b']')?;
        merges.finish(middle);
        Some(())
    }

    /// Hands a merge on.
    #[inline]
    fn resolved_merge(&mut self, resolver: &mut Resolver) -> Option<()> {
        let start = self.at;
        if let Some((left, right)) = self.plain_merge() {
            return resolver.push(self.bytes, left, right).ok();
        }
        self.at = start;
        self.other_merge(resolver)
    }

    /// Where the tokens of a merge are that stand in the file as they are.
    #[inline]
    fn plain_merge(&mut self) -> Option<(Range<usize>, Range<usize>)> {
        if self.peek()? == b'"' {
            let line = self.plain_string()?;
            let text = &self.bytes[line.clone()];
            let middle = line.start + only_space(text).filter(|_| !text.starts_with(VERSION))?;
            return Some((line.start..middle, middle + 1..line.end));
        }
        self.take(b'[')?;
        self.white_space();
        let left = self.plain_string()?;
        self.white_space();
        self.take(b',')?;
        self.white_space();
        let right = self.plain_string()?;
        self.white_space();
        self.take(b']')?;
        Some((left, right))
    }

    /// The same for one with escapes, or that is no merge.
    #[cold]
    fn other_merge(&mut self, resolver: &mut Resolver) -> Option<()> {
        let mut merges = MergeList::default();
        self.merge(&mut merges)?;
        resolver.flush(self.bytes).ok()?;
        resolver.push_all(&merges, 0..merges.len()).ok()
    }

    /// Where the bytes of a string are that has no escapes.
    #[inline]
    fn plain_string(&mut self) -> Option<Range<usize>> {
        self.take(b'"')?;
        let start = self.at;
        while let Some(sixteen) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<16>) {
            let (first, second) = sixteen.split_at(8);
            let special =
                |eight: &[u8]| eight.first_chunk().map_or(0, |eight| special_bytes(u64::from_le_bytes(*eight)));
            let (first, second) = (special(first), special(second));
            // No branch could foresee in which of them a string ends.
            let plain = if first != 0 { first.trailing_zeros() } else { 64 + second.trailing_zeros() };
            self.at += plain as usize / 8;
            if first | second != 0 {
                break;
            }
        }
        while !matches!(self.peek()?, b'"' | b'\\' | 0..0x20) {
            self.at += 1;
        }
        let end = self.at;
        self.take(b'"')?;
        Some(start..end)
    }
}

/// A file with some of its characters of ASCII changed.
#[cfg(test)]
pub(super) fn spoilt(file: String, changes: Vec<(proptest::sample::Index, String)>) -> Vec<u8> {
    let mut bytes = file.into_bytes();
    for (at, change) in changes {
        let at = at.index(bytes.len());
        if bytes[at].is_ascii() {
            bytes[at] = change.as_bytes()[0];
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::formats::merges::Merges;
    use crate::formats::vocabulary_map::VocabularyMap;

    /// What `serde_json` reads of a file.
    #[derive(Deserialize)]
    struct File<V> {
        model: Parts<V>,
    }

    #[derive(Deserialize)]
    struct Parts<V> {
        vocab: V,
        merges: Merges,
    }

    /// What both read, written out.
    fn by_serde_json(bytes: &[u8]) -> Option<[String; 2]> {
        if let Ok(File { model: Parts { vocab: VocabularyMap(builder), merges } }) = serde_json::from_slice(bytes) {
            return Some([format!("{builder:?}"), format!("{:?}", merges.0)]);
        }
        let File { model: Parts { vocab, merges } } = serde_json::from_slice::<File<ScoredPieces>>(bytes).ok()?;
        Some([format!("{:?} {:?}", vocab.pieces, vocab.scores), format!("{:?}", merges.0)])
    }

    fn by_outline(bytes: &[u8], many: usize) -> Option<[String; 2]> {
        let Outline { text, large } = Outline::read_with(bytes, many)?;
        serde_json::from_str::<serde_json::Value>(&text).ok()?;
        let vocabulary = match large.vocabulary? {
            LargeVocabulary::Map(builder) => format!("{builder:?}"),
            LargeVocabulary::Pieces(all) => format!("{:?} {:?}", all.pieces, all.scores),
            LargeVocabulary::Made(vocabulary) => format!("{vocabulary:?}"),
        };
        match large.merges? {
            LargeMerges::List(merges) => Some([vocabulary, format!("{merges:?}")]),
            LargeMerges::Table(table) => Some([vocabulary, format!("{table:?}")]),
        }
    }

    fn file(tokens: &[String], scores: &[f64], pairs: bool, is_map: bool) -> serde_json::Value {
        let map: BTreeMap<&String, usize> = tokens.iter().zip(0..).collect();
        let pieces: Vec<(&String, &f64)> = tokens.iter().zip(scores.iter().cycle()).collect();
        let merges = tokens.windows(2).map(|two| match pairs {
            true => serde_json::json!([two[0], two[1]]),
            false => format!("{} {}", two[0].replace(' ', "_"), two[1].replace(' ', "_")).into(),
        });
        serde_json::json!({
            "added_tokens": [{"content": "}],\"", "id": 0}],
            "model": {
                "type": "BPE",
                "vocab": if is_map { serde_json::json!(map) } else { serde_json::json!(pieces) },
                "unk_token": null,
                "merges": merges.collect::<Vec<_>>(),
            },
            "version": "1.0",
        })
    }

    fn files() -> impl Strategy<Value = String> {
        let tokens = prop::collection::vec("[a-z ]{0,12}|\\PC{0,9}|[\u{0}-\u{1F}\"\\\\/]{0,3}", 0..12);
        let scores = prop::collection::vec(prop_oneof![-30.0..0.0, any::<f64>(), Just(0.0)], 1..4);
        let are_finite = |scores: &Vec<f64>| scores.iter().all(|score| score.is_finite());
        let parts = (tokens, scores.prop_filter("JSON has no others", are_finite), any::<[bool; 4]>());
        parts.prop_map(|(tokens, scores, flags): (Vec<String>, Vec<f64>, _)| {
            let [pairs, is_map, is_pretty, is_ascii] = flags;
            let file = file(&tokens, &scores, pairs, is_map);
            let text = if is_pretty { serde_json::to_string_pretty(&file) } else { serde_json::to_string(&file) };
            let text = text.expect("a file");
            if !is_ascii {
                return text;
            }
            let escaped = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
            text.chars().map(|c| if c.is_ascii() { c.to_string() } else { escaped(c) }).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn what_is_read_is_what_serde_json_reads(file in files()) {
            let expected = by_serde_json(file.as_bytes());
            prop_assert!(expected.is_some(), "{}", file);
            prop_assert_eq!(&by_outline(file.as_bytes(), MANY), &expected, "{}", file);
            let value: serde_json::Value = serde_json::from_str(&file).expect("JSON");
            if value["model"]["vocab"].is_array() {
                prop_assert_eq!(by_outline(file.as_bytes(), 0), expected, "{}", file);
            }
        }

        #[test]
        fn nothing_is_read_that_serde_json_refuses(
            file in files(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), "[\\[\\]{},:\"\\\\ 0-9a-z.\n\t-]"), 1..4),
        ) {
            let bytes = spoilt(file, changes);
            if let Some(read) = by_outline(&bytes, MANY) {
                prop_assert_eq!(Some(read), by_serde_json(&bytes), "{}", String::from_utf8_lossy(&bytes));
            }
        }

        #[test]
        fn scores_are_rounded_as_serde_json_rounds_them(
            text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,22})?([eE][+-]?[0-9]{1,2})?",
        ) {
            let mut reader = Reader { bytes: text.as_bytes(), at: 0, many: MANY };
            let expected: Option<f64> = serde_json::from_str(&text).ok();
            prop_assert_eq!(reader.score().map(f64::to_bits), expected.map(f64::to_bits), "{}", text);
        }
    }
}
