//! The buffers of a call, named by argument: what goes to a call and what comes back.
//!
//! Law: a call at home sees these bytes and never an address. On the wire they are
//! `[argument u8][length u32 LE][bytes]`, repeated; decoding checks every length first.

use alloc::vec::Vec;

/// Bytes of some of the six arguments of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buffers(Vec<(u8, Vec<u8>)>);

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
        all
    }

    /// Reads the form that travels; `None` if it is malformed.
    pub fn decode(mut bytes: &[u8]) -> Option<Buffers> {
        let mut buffers = Buffers::new();
        while let [arg, a, b, c, d, rest @ ..] = bytes {
            let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
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
