//! The wire format of protocol buffers: fields one after the other, each with its number and kind.

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    Bytes(&'a [u8]),
}

/// Where reading fails, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WireFault {
    pub(super) at: usize,
    pub(super) expected: &'static str,
}

/// Reads the fields of a message that lies at byte `base` of the file.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8], base: usize) -> Self {
        Fields { rest: message, at: base }
    }

    /// The next field: where its value begins in the file, its number, its value.
    pub(super) fn next(&mut self) -> Result<Option<(usize, u64, Value<'a>)>, WireFault> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let start = self.at;
        let key = self.varint()?;
        let mut at = self.at;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                at = self.at;
                Value::Bytes(self.bytes(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(WireFault { at: start, expected: "a field of a known wire type" }),
        };
        Ok(Some((at, key >> 3, value)))
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], WireFault> {
        let fault = WireFault { at: self.at, expected: "as many bytes as the field says it has" };
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(fault)?;
        self.rest = rest;
        self.at += length;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireFault> {
        let fault = WireFault { at: self.at, expected: "a whole number" };
        self.bytes(N)?.try_into().map_err(|_| fault)
    }

    fn varint(&mut self) -> Result<u64, WireFault> {
        let at = self.at;
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7F).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(WireFault { at, expected: "a number of at most ten bytes" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_kind_are_read() {
        let message = b"\x08\x96\x01\x12\x02hi\x1d\x00\x00\x80\x3f\x21\x01\x00\x00\x00\x00\x00\x00\x00";
        let mut fields = Fields::new(message, 100);
        assert_eq!(fields.next(), Ok(Some((101, 1, Value::Varint(150)))));
        assert_eq!(fields.next(), Ok(Some((105, 2, Value::Bytes(b"hi")))));
        assert_eq!(fields.next(), Ok(Some((108, 3, Value::Fixed32(0x3F80_0000)))));
        assert_eq!(fields.next(), Ok(Some((113, 4, Value::Fixed64(1)))));
        assert_eq!(fields.next(), Ok(None));
    }

    #[test]
    fn a_message_cut_short_or_lying_about_lengths_is_a_fault() {
        for message in [
            &b"\x08"[..],
            b"\x08\x96",
            b"\x12\x05hi",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01hi",
            b"\x1d\0\0",
            b"\x0b",
        ] {
            assert!(Fields::new(message, 0).next().is_err(), "{message:?}");
        }
        let endless = [0xFF; 32];
        assert!(Fields::new(&endless, 0).next().is_err());
    }
}
