//! SentencePiece's character map: a trie of texts, and what each becomes.

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

use crate::TokenizerError;
use crate::compiled::{Reader, Writer};
use crate::normalized::{Alignment, Normalized, Source, Span};
use crate::numbers::{Numbers, Text};

/// Clusters of so many bytes are looked up character by character only.
const LONG_CLUSTER: usize = 6;

/// Texts of a map are looked for up to so many bytes, so that a hostile one can't make every place of a text take as long as itself.
/// Those of SentencePiece have some twenty.
const LONGEST_TEXT: usize = 256;

/// `Precompiled` of `tokenizer.json`.
///
/// In the settings of a compiled file, its tables are left out: [`write`](Self::write) and [`read`](Self::read) are for them.
#[derive(Serialize, Deserialize)]
pub(crate) struct Precompiled {
    /// The trie of `darts-clone`: see [`Unit`].
    #[serde(skip)]
    units: Numbers<u32>,
    /// What texts become, each ended by a zero byte.
    #[serde(skip)]
    texts: Text,
    /// Whether the longest text of the map is taken wherever it stands, as SentencePiece itself does.
    longest: bool,
    /// Whether a character of ASCII stays as it is in a cluster of ASCII alone.
    #[serde(skip, default = "none_stays")]
    ascii_stays: [bool; 128],
}

fn none_stays() -> [bool; 128] {
    [false; 128]
}

/// Why a character map can't be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PrecompiledFault {
    /// Byte of the map.
    pub(crate) at: usize,
    pub(crate) expected: &'static str,
    pub(crate) found: String,
}

/// One node of the trie. The bits, from the lowest: label (8), whether a key ends here (1), whether the offset is in units of
/// 256 (1), offset (22); of a value, the highest bit is set, the rest is the value.
#[derive(Clone, Copy)]
struct Unit(u32);

impl Unit {
    fn has_leaf(self) -> bool {
        self.0 >> 8 & 1 == 1
    }

    fn value(self) -> usize {
        (self.0 & 0x7FFF_FFFF) as usize
    }

    /// Never a byte for a value.
    fn label(self) -> u32 {
        self.0 & 0x8000_00FF
    }

    fn offset(self) -> usize {
        (self.0 >> 10 << ((self.0 & 1 << 9) >> 6)) as usize
    }
}

impl Precompiled {
    /// Takes the map as SentencePiece writes it: bytes of the trie, the trie, the texts.
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, PrecompiledFault> {
        let fault = |at, expected, found: String| PrecompiledFault { at, expected, found };
        let Some((size, rest)) = bytes.split_first_chunk::<4>() else {
            return Err(fault(0, "the size of a trie in 4 bytes", format!("{} bytes", bytes.len())));
        };
        let size = u32::from_le_bytes(*size) as usize;
        let Some((trie, texts)) = rest.split_at_checked(size) else {
            let found = format!("{} of {size} bytes", rest.len());
            return Err(fault(4, "the whole trie", found));
        };
        if size == 0 || !size.is_multiple_of(4) {
            return Err(fault(0, "a size that is a multiple of 4 and not 0", size.to_string()));
        }
        let Some(text) = Text::new(texts.to_vec()) else {
            let valid = std::str::from_utf8(texts).map_or_else(|error| error.valid_up_to(), str::len);
            return Err(fault(4 + size + valid, "UTF-8", "bytes that are not".to_owned()));
        };
        let units: Vec<u32> = trie.as_chunks().0.iter().map(|&unit| u32::from_le_bytes(unit)).collect();
        let mut map = Precompiled { units: units.into(), texts: text, longest: false, ascii_stays: none_stays() };
        map.check()?;
        map.find_what_stays();
        Ok(map)
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.numbers("units", &self.units);
        writer.text("texts", &self.texts);
    }

    /// Reads the tables of a map whose settings were read.
    pub(crate) fn read(&mut self, reader: &Reader) -> Result<(), TokenizerError> {
        self.units = reader.numbers("units")?;
        self.texts = reader.text("texts")?;
        self.find_what_stays();
        Ok(())
    }

    fn find_what_stays(&mut self) {
        // A carriage return makes one cluster with a line feed.
        let stays = |c: usize| self.mapped(&[c as u8, b'\n'][..1 + usize::from(c == 13)]).is_none();
        self.ascii_stays = std::array::from_fn(stays);
    }

    fn unit(&self, at: usize) -> Option<Unit> {
        self.units.get(at).map(|&unit| Unit(unit))
    }

    /// The same map in SentencePiece's own way.
    pub(crate) fn by_longest(self) -> Self {
        Precompiled { longest: true, ..self }
    }

    /// All places that a walk can reach, so that no walk leaves the trie or the texts.
    fn check(&self) -> Result<(), PrecompiledFault> {
        let fault = |unit: usize, expected, found: usize| PrecompiledFault {
            at: 4 + unit.saturating_mul(4),
            expected,
            found: found.to_string(),
        };
        for (at, unit) in self.units.iter().map(|&unit| Unit(unit)).enumerate() {
            // A value is no node of its own; units that nothing leads to may hold anything.
            if unit.0 >> 31 == 1 || !unit.has_leaf() {
                continue;
            }
            let Some(value) = self.unit(at ^ unit.offset()) else {
                return Err(fault(at, "an offset within the trie", unit.offset()));
            };
            if self.texts.get(value.value()..).is_none() {
                return Err(fault(at, "a value that is the start of a text", value.value()));
            }
        }
        Ok(())
    }

    /// What the shortest text of the map that `bytes` begins with becomes.
    #[inline]
    fn mapped(&self, bytes: &[u8]) -> Option<&str> {
        self.walk(bytes).next().map(|(_, text)| text)
    }

    /// The texts of the map that `bytes` begins with, the shortest first: bytes of each, and what it becomes.
    #[inline]
    fn walk(&self, bytes: &[u8]) -> impl Iterator<Item = (usize, &str)> {
        let mut at = self.unit(0).map(Unit::offset);
        bytes
            .iter()
            .zip(1..)
            .map_while(move |(&byte, length)| {
                let mut place = at?;
                // Zero ends a text in C.
                if byte == 0 {
                    return None;
                }
                place ^= usize::from(byte);
                let unit = self.unit(place)?;
                if unit.label() != u32::from(byte) {
                    return None;
                }
                place ^= unit.offset();
                at = Some(place);
                let becomes = || {
                    let text = self.texts.get(self.unit(place)?.value()..)?;
                    Some((length, text.find('\0').map_or(text, |end| &text[..end])))
                };
                Some(if unit.has_leaf() { becomes() } else { None })
            })
            .flatten()
    }

    /// Whether any text of the map begins with this byte.
    pub(crate) fn has_text_beginning_with(&self, byte: u8) -> bool {
        let root = self.unit(0).map_or(0, Unit::offset);
        self.unit(root ^ usize::from(byte)).is_some_and(|unit| unit.label() == u32::from(byte))
    }

    /// Clusters of few bytes are mapped by the shortest text that they begin with, as a whole; all others, and those that
    /// begin with none, character by character.
    ///
    /// This is the reference's way. SentencePiece itself takes the longest text of the map wherever it stands.
    pub(super) fn normalize<S: Source, A: Alignment>(&self, source: &S, out: &mut Normalized<A>) {
        let text = source.text();
        let mut changes = Changes::default();
        let mut at = 0;
        while self.longest && at < text.len() {
            at += self.longest(source, at, &mut changes, out);
        }
        while at < text.len() {
            let ascii_end = at + ascii_clusters(&text[at..]);
            while at < ascii_end {
                at += self.ascii(source, at, ascii_end, &mut changes, out);
            }
            for cluster in text[at..].graphemes(true) {
                self.cluster(cluster, source, &mut changes, out);
                at += cluster.len();
                if ascii_clusters(&text[at..]) > 0 {
                    break;
                }
            }
        }
        changes.settle(source, out);
    }

    /// Takes what is unchanged of `at..end`, which is ASCII, or else one cluster; returns its length.
    #[inline]
    fn ascii<S: Source, A: Alignment>(
        &self,
        source: &S,
        at: usize,
        end: usize,
        changes: &mut Changes,
        out: &mut Normalized<A>,
    ) -> usize {
        let text = &source.text()[at..end];
        let stays = |byte: u8| self.ascii_stays.get(usize::from(byte)) == Some(&true);
        let unchanged = text.bytes().position(|byte| !stays(byte)).unwrap_or(text.len());
        if unchanged > 0 {
            changes.keep(&text[..unchanged], source, out);
            return unchanged;
        }
        let cluster = if text.starts_with("\r\n") { &text[..2] } else { &text[..1] };
        self.cluster(cluster, source, changes, out);
        cluster.len()
    }

    /// Takes the longest text of the map at `at`, or else one character; returns its length.
    fn longest<S: Source, A: Alignment>(
        &self,
        source: &S,
        at: usize,
        changes: &mut Changes,
        out: &mut Normalized<A>,
    ) -> usize {
        let rest = &source.text()[at..];
        let longest = self.walk(&rest.as_bytes()[..rest.len().min(LONGEST_TEXT)]).last();
        // Where a map has parts of characters, only whole ones count.
        if let Some((length, becomes)) = longest.filter(|&(length, _)| rest.is_char_boundary(length)) {
            changes.replace(&rest[..length], becomes, source, out);
            return length;
        }
        let length = rest.chars().next().map_or(1, char::len_utf8);
        changes.keep(&rest[..length], source, out);
        length
    }

    fn cluster<S: Source, A: Alignment>(
        &self,
        cluster: &str,
        source: &S,
        changes: &mut Changes,
        out: &mut Normalized<A>,
    ) {
        if cluster.len() < LONG_CLUSTER
            && let Some(becomes) = self.mapped(cluster.as_bytes())
        {
            return changes.replace(cluster, becomes, source, out);
        }
        for (at, c) in cluster.char_indices() {
            let part = &cluster[at..at + c.len_utf8()];
            match self.mapped(part.as_bytes()) {
                Some(becomes) => changes.replace(part, becomes, source, out),
                None => changes.keep(part, source, out),
            }
        }
    }
}

/// Bytes at the beginning of `text`, which begins a cluster, that are ASCII and in clusters of ASCII alone.
fn ascii_clusters(text: &str) -> usize {
    match text.bytes().position(|byte| !byte.is_ascii()) {
        None => text.len(),
        // A line feed takes no marks.
        Some(len) if text[..len].ends_with('\n') => len,
        // What follows may be a mark on the last of them.
        Some(len) => len.saturating_sub(1),
    }
}

/// Places the new characters. The reference counts: each new character takes the next original character in line,
/// those beyond the number of the originals share the one before, and the last new character takes what is left of
/// the originals. Where nothing is left of the very first ones, nothing can take them, and the count is off from there on.
#[derive(Default)]
struct Changes {
    /// The last new character, and how many originals more (positive: it takes none) or fewer there are from it on.
    pending: Option<(char, isize)>,
    /// Byte of the source that is next in line.
    next: usize,
    last: Span,
}

impl Changes {
    #[inline]
    fn keep<S: Source, A: Alignment>(&mut self, text: &str, source: &S, out: &mut Normalized<A>) {
        if A::KEPT {
            text.chars().for_each(|c| self.push(c, 0, source, out));
        } else {
            out.push_str(text);
        }
    }

    fn replace<S: Source, A: Alignment>(&mut self, old: &str, new: &str, source: &S, out: &mut Normalized<A>) {
        if !A::KEPT {
            return out.push_str(new);
        }
        let (old, count) = (old.chars().count(), new.chars().count());
        for (at, c) in new.chars().enumerate() {
            self.push(c, isize::from(at >= old), source, out);
        }
        if let Some((_, change)) = &mut self.pending {
            *change -= old.saturating_sub(count) as isize;
        }
    }

    fn push<S: Source, A: Alignment>(&mut self, c: char, change: isize, source: &S, out: &mut Normalized<A>) {
        self.settle(source, out);
        self.pending = Some((c, change));
    }

    /// Gives the pending character its span.
    fn settle<S: Source, A: Alignment>(&mut self, source: &S, out: &mut Normalized<A>) {
        let Some((c, change)) = self.pending.take() else {
            return;
        };
        let mut span = self.last;
        let originals = if change > 0 { 0 } else { 1 + change.unsigned_abs() };
        for place in 0..originals {
            let Some(original) = source.text()[self.next..].chars().next() else {
                break;
            };
            self.last = source.span(self.next, original.len_utf8());
            self.next += original.len_utf8();
            if place == 0 {
                span = self.last;
            }
        }
        out.push(c, span);
    }
}

impl std::fmt::Debug for Precompiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Precompiled").field("units", &self.units.len()).field("texts", &self.texts.len()).finish()
    }
}
