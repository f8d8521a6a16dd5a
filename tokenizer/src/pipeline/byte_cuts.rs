//! Where words of a model of bytes may be cut so that each part can be merged by itself: between characters over which no token reaches.
//!
//! Merging makes tokens of the vocabulary only. Of a token that reaches over a place, the bytes nearest to the place are known, up to
//! [`SIDE`] on each side; a place around which a text has none of what tokens have there is one to cut. Texts without spaces
//! between words become parts of a few characters each, which come again and again.

use crate::byte_alphabet;
use crate::models::Vocabulary;

/// Most bytes on each side of a place that are looked at: a character of most scripts.
const SIDE: usize = 3;

/// Bits for each context; with one in eight taken at the most, few places are missed.
const BITS: usize = 8;

/// Between which characters tokens reach. Places between two characters of ASCII are not in it: words of these are tokens to a large part.
#[derive(Debug)]
pub(super) struct ByteNeighbours {
    /// By the byte before a place (lower) and the one behind it, for each number of bytes that tokens have on both sides, a bit.
    lengths: Vec<u16>,
    /// A bit for each context of a token, at a place that its hash says.
    contexts: Vec<u64>,
    shift: u32,
}

/// The [`SIDE`] bytes before a place, then as many behind it, the first of them lowest, and something above. What is beyond the ends of a word
/// makes no difference: a token that reaches over the place has its bytes within the word.
#[derive(Clone, Copy)]
struct Around(u64);

/// For each bit of [`lengths`](ByteNeighbours::lengths), the bytes that a token has around a place.
const KEPT: [u64; 16] = {
    let mut kept = [0; 16];
    let mut bit = 0;
    while bit < SIDE * SIDE {
        let (before, behind) = (bit / SIDE + 1, bit % SIDE + 1);
        kept[bit] = ((1 << (8 * (before + behind))) - 1) << (8 * (SIDE - before));
        bit += 1;
    }
    kept
};

impl Around {
    #[inline]
    fn new(bytes: &[u8], at: usize) -> Self {
        let eight = at.checked_sub(SIDE).and_then(|first| bytes.get(first..)?.first_chunk());
        Around(eight.map_or_else(|| Self::near_an_end(bytes, at), |&eight| u64::from_le_bytes(eight)))
    }

    #[cold]
    fn near_an_end(bytes: &[u8], at: usize) -> u64 {
        let byte = |place: usize| (at + place).checked_sub(SIDE).and_then(|at| bytes.get(at)).copied();
        u64::from_le_bytes(std::array::from_fn(|place| byte(place).unwrap_or_default()))
    }

    /// Of the byte before the place and the one behind it.
    #[inline]
    fn pair(self) -> usize {
        (self.0 >> (8 * (SIDE - 1))) as usize & 0xFFFF
    }

    /// What a token has around a place that has so many bytes on both sides, as bit of [`lengths`](ByteNeighbours::lengths) says.
    #[inline]
    fn context(self, bit: u32) -> u64 {
        self.0 & KEPT[bit as usize % KEPT.len()] | u64::from(bit) << (16 * SIDE)
    }
}

/// Whether a place between these bytes is one between characters, of which at least one is beyond ASCII.
#[inline]
fn is_place(before: u8, behind: u8) -> bool {
    before | behind >= 0x80 && behind & 0xC0 != 0x80
}

impl ByteNeighbours {
    /// Of a vocabulary in the alphabet of byte-level tokenizers. What isn't in it is no token that merging makes.
    pub(super) fn of_tokens(vocabulary: &Vocabulary) -> Self {
        Self::new(vocabulary, |text, token| token.extend(text.chars().filter_map(byte_alphabet::byte)))
    }

    /// Of a vocabulary of texts, whatever marks they begin with.
    pub(super) fn of_texts(vocabulary: &Vocabulary, mark: char) -> Self {
        Self::new(vocabulary, |text, token| token.extend_from_slice(text.trim_start_matches(mark).as_bytes()))
    }

    /// `write` appends the bytes of a token.
    fn new(vocabulary: &Vocabulary, write: impl Fn(&str, &mut Vec<u8>)) -> Self {
        let (mut token, mut found) = (Vec::new(), Vec::new());
        let mut lengths = vec![0; 1 << 16];
        for entry in vocabulary.entries() {
            token.clear();
            write(vocabulary.text_of(entry), &mut token);
            for at in 1..token.len() {
                if is_place(token[at - 1], token[at]) {
                    let around = Around::new(&token, at);
                    let (before, behind) = (at.min(SIDE), (token.len() - at).min(SIDE));
                    let bit = ((before - 1) * SIDE + behind - 1) as u32;
                    lengths[around.pair()] |= 1 << bit;
                    found.push(around.context(bit));
                }
            }
        }
        let places = (BITS * found.len()).next_power_of_two().max(u64::BITS as usize * 2);
        let mut neighbours = ByteNeighbours {
            lengths,
            contexts: vec![0; places / u64::BITS as usize],
            shift: u64::BITS - places.trailing_zeros(),
        };
        for context in found {
            let place = neighbours.place(context);
            neighbours.contexts[place / 64] |= 1 << (place % 64);
        }
        neighbours
    }

    #[inline]
    fn place(&self, context: u64) -> usize {
        ((context ^ context >> 29).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }

    /// Whether a token may reach over this place of a text.
    #[inline]
    fn are_joined(&self, around: Around) -> bool {
        let mut bits = u32::from(self.lengths[around.pair()]);
        while bits != 0 {
            let place = self.place(around.context(bits.trailing_zeros()));
            if self.contexts[place / 64] >> (place % 64) & 1 == 1 {
                return true;
            }
            bits &= bits - 1;
        }
        false
    }

    /// The first place after `start` to cut the word that ends at `end`, if there is one.
    #[inline]
    pub(super) fn cut_after(&self, start: usize, end: usize, text: &[u8]) -> Option<usize> {
        let mut before = *text.get(start)?;
        for (at, &behind) in text.iter().enumerate().take(end).skip(start + 1) {
            if is_place(before, behind) && !self.are_joined(Around::new(text, at)) {
                return Some(at);
            }
            before = behind;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::byte_alphabet::CHARS;
    use crate::models::vocabulary::VocabularyBuilder;

    #[test]
    fn a_word_is_cut_where_no_token_has_what_is_around() {
        let mut builder = VocabularyBuilder::default();
        let tokens = ["中文字", "字a", "가나다라", "é", "xé", "<s>", "ab"].map(str::as_bytes);
        // The end of a character with the next, a character with the beginning of the next, and both.
        let parts = [&"们我".as_bytes()[2..], &"你好".as_bytes()[..4], &"人口".as_bytes()[1..5]];
        for (token, id) in tokens.iter().chain(&parts).zip(0..) {
            let token: String = token.iter().map(|&byte| CHARS[usize::from(byte)]).collect();
            builder.push(&token, id).expect("a small vocabulary");
        }
        let neighbours = ByteNeighbours::of_tokens(&builder.build().expect("tokens that differ"));
        let parts = |word: &str| {
            let (mut parts, mut start) = (Vec::new(), 0);
            while let Some(end) = neighbours.cut_after(start, word.len(), word.as_bytes()) {
                parts.push(word[start..end].to_owned());
                start = end;
            }
            parts.push(word[start..].to_owned());
            parts
        };
        assert_eq!(parts("中文字a中"), ["中文字a", "中"]);
        assert_eq!(parts("文中字文"), ["文", "中", "字", "文"]);
        assert_eq!(parts("abcxéé中é"), ["abcxé", "é", "中", "é"]);
        assert_eq!(parts("가나다라마"), ["가나다라", "마"]);
        // Bytes that end as the first of these do, or begin as the second.
        assert_eq!(parts("们我。他们我们"), ["们我", "。", "他", "们我", "们"]);
        assert_eq!(parts("你好你女"), ["你好", "你女"]);
        assert_eq!(parts("人口人中"), ["人口", "人", "中"]);
        assert_eq!(parts("你人口"), ["你", "人口"]);
        assert_eq!(parts(""), [""]);
    }
}
