//! How many tokens of each sequence stay, and the windows that the rest is cut into.

use std::ops::Range;

use crate::TokenizerError;
use crate::options::{Side, Truncation, TruncationStrategy};

/// How many tokens of each sequence may stay.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rooms {
    pub(crate) first: usize,
    pub(crate) second: usize,
}

/// Shares the room of an encoding between its sequences, by the rules of the reference.
///
/// `special_tokens` is what the template will add, 0 where it won't; `second` is `None` without a pair.
pub(crate) fn rooms(
    truncation: &Truncation,
    special_tokens: usize,
    first: usize,
    second: Option<usize>,
) -> Result<Rooms, TokenizerError> {
    let everything = Rooms { first, second: second.unwrap_or(0) };
    if truncation.strategy == TruncationStrategy::DoNotTruncate {
        return Ok(everything);
    }
    let Some(room) = truncation.max_length.checked_sub(special_tokens) else {
        return Err(TokenizerError::MaxLengthTooSmall { max_length: truncation.max_length, special_tokens });
    };
    if truncation.stride > 0 && truncation.stride >= room {
        return Err(TokenizerError::StrideTooLarge { stride: truncation.stride, room });
    }
    if room == 0 {
        return Ok(Rooms { first: 0, second: 0 });
    }
    let total = everything.first.saturating_add(everything.second);
    let Some(remove) = total.checked_sub(room).filter(|&remove| remove > 0) else {
        return Ok(everything);
    };
    let too_short = |length| TokenizerError::SequenceTooShort { strategy: truncation.strategy.name(), remove, length };
    // What is left of the one sequence that loses tokens; the reference wants at least one to stay.
    let cut = |length: usize| match length.checked_sub(remove) {
        Some(left) if left > 0 => Ok(left),
        _ => Err(too_short(length)),
    };
    match (truncation.strategy, second) {
        (TruncationStrategy::OnlyFirst, _) => Ok(Rooms { first: cut(first)?, ..everything }),
        (TruncationStrategy::OnlySecond, Some(second)) => Ok(Rooms { second: cut(second)?, ..everything }),
        (TruncationStrategy::OnlySecond, None) => Err(TokenizerError::NoSecondSequence),
        (_, None) => Ok(Rooms { first: room, second: 0 }),
        (_, Some(second)) => Ok(longest_first(room, first, second)),
    }
}

/// The shorter sequence stays whole if it takes no more than half of the room, else both get half.
fn longest_first(room: usize, first: usize, second: usize) -> Rooms {
    let shorter = first.min(second);
    let rest = room.saturating_sub(shorter);
    let (shorter, longer) = if rest >= shorter { (shorter, rest) } else { (room / 2, room - room / 2) };
    // On a tie the second counts as the longer.
    if first <= second { Rooms { first: shorter, second: longer } } else { Rooms { first: longer, second: shorter } }
}

/// The windows of a sequence of `length` tokens: first the one that stays, then, with `overflow`, those that cover
/// the rest. Neighbours share `stride` tokens.
pub(crate) fn windows(
    length: usize,
    room: usize,
    truncation: &Truncation,
) -> Result<Vec<Range<usize>>, TokenizerError> {
    let mut windows = Vec::new();
    if room >= length {
        windows.push(0..length);
        return Ok(windows);
    }
    if room == 0 {
        windows.push(0..0);
        windows.extend(truncation.overflow.then_some(0..length));
        return Ok(windows);
    }
    let Some(step) = room.checked_sub(truncation.stride).filter(|&step| step > 0) else {
        return Err(TokenizerError::StrideTooLarge { stride: truncation.stride, room });
    };
    let mut moved = 0;
    loop {
        // Counted from the end that stays.
        let (near, far) = (moved, (moved + room).min(length));
        windows.push(match truncation.direction {
            Side::Right => near..far,
            Side::Left => length - far..length - near,
        });
        if far == length || !truncation.overflow {
            return Ok(windows);
        }
        moved += step;
    }
}
