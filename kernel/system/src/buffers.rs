//! The buffers of a call, named by argument: what goes to a call and what comes back.
//!
//! Law: a call at home sees these bytes and never an address. On the wire they are
//! `[argument u8][length u32 LE][bytes]`, repeated; decoding checks every length first. What the caller's
//! memory did not give or does not take is marked, and is EFAULT when the call comes to need it: so a call
//! finds out what else is wrong first, in Linux' order. The marks travel as those of argument 6.

use alloc::vec::Vec;

/// Bytes of some of the six arguments of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buffers(Vec<(u8, Vec<u8>)>, Marks);

/// Which arguments point to memory that is not there, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Marks {
    unread: u8,
    narrow: u8,
}

/// The argument as which the marks travel.
const MARKS: u8 = 6;

impl Buffers {
    /// No buffer at all.
    pub fn new() -> Buffers {
        Buffers::default()
    }

    /// Sets the bytes of an argument.
    pub fn set(&mut self, arg: usize, bytes: Vec<u8>) {
        self.0.retain(|(index, _)| usize::from(*index) != arg);
        self.0.push((arg as u8, bytes));
    }

    /// The bytes of an argument, if it has a buffer.
    pub fn get(&self, arg: usize) -> Option<&[u8]> {
        self.0
            .iter()
            .find(|(index, _)| usize::from(*index) == arg)
            .map(|(_, bytes)| &bytes[..])
    }

    /// Marks an in-buffer that the caller's memory did not give, or not all of it.
    pub fn mark_unread(&mut self, arg: usize) {
        self.1.unread |= 1 << arg;
    }

    /// Marks an out-buffer of which the caller's memory takes only the beginning, or nothing.
    pub fn mark_narrow(&mut self, arg: usize) {
        self.1.narrow |= 1 << arg;
    }

    /// Whether the in-buffer of an argument could not be read whole.
    pub fn is_unread(&self, arg: usize) -> bool {
        self.1.unread & 1 << arg != 0
    }

    /// Whether the out-buffer of an argument takes less than the caller says.
    pub fn is_narrow(&self, arg: usize) -> bool {
        self.1.narrow & 1 << arg != 0
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.0
            .iter()
            .map(|(index, bytes)| (usize::from(*index), &bytes[..]))
    }

    /// The form that travels.
    pub fn encode(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.0.iter().map(|(_, bytes)| bytes.len() + 5).sum());
        for (arg, bytes) in &self.0 {
            all.push(*arg);
            all.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            all.extend_from_slice(bytes);
        }
        if self.1 != Marks::default() {
            all.extend_from_slice(&[MARKS, 2, 0, 0, 0, self.1.unread, self.1.narrow]);
        }
        all
    }

    /// Reads the form that travels; `None` if it is malformed.
    pub fn decode(mut bytes: &[u8]) -> Option<Buffers> {
        let mut buffers = Buffers::new();
        while let [arg, a, b, c, d, rest @ ..] = bytes {
            let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
            if let (MARKS, [unread, narrow]) = (*arg, rest) {
                buffers.1 = Marks {
                    unread: unread & 0x3f,
                    narrow: narrow & 0x3f,
                };
                return (length == 2).then_some(buffers);
            }
            if *arg > 5 || length > rest.len() || buffers.get(usize::from(*arg)).is_some() {
                return None;
            }
            buffers.0.push((*arg, rest[..length].to_vec()));
            bytes = &rest[length..];
        }
        bytes.is_empty().then_some(buffers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn travels_as_it_is() {
        let mut buffers = Buffers::new();
        buffers.set(1, b"abc".to_vec());
        buffers.set(4, Vec::new());
        let bytes = buffers.encode();
        assert_eq!(bytes, b"\x01\x03\0\0\0abc\x04\0\0\0\0");
        assert_eq!(Buffers::decode(&bytes), Some(buffers));
    }

    #[test]
    fn marks_travel_too() {
        let mut buffers = Buffers::new();
        buffers.set(1, b"abc".to_vec());
        buffers.mark_unread(1);
        buffers.mark_narrow(3);
        let back = Buffers::decode(&buffers.encode());
        assert_eq!(back.as_ref(), Some(&buffers));
        let back = back.unwrap_or_default();
        assert!(back.is_unread(1) && !back.is_unread(3));
        assert!(back.is_narrow(3) && !back.is_narrow(1));
    }

    #[test]
    fn malformed_bytes_are_refused() {
        for bytes in [
            &b"\x01"[..],
            b"\x01\x05\0\0\0abc",
            b"\x06\0\0\0\0",
            b"\x01\0\0\0\0\x01\0\0\0\0",
        ] {
            assert_eq!(Buffers::decode(bytes), None);
        }
    }
}
