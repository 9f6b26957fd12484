//! Writes frames in the classic capture format, with nanoseconds.
//!
//! Format: draft-ietf-opsawg-pcap, section 4 (file header) and 5 (packet record), little-endian.

use std::io::{self, Write};

/// Magic number of a file whose time stamps have nanoseconds.
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
/// LINKTYPE_ETHERNET.
const LINK_TYPE_ETHERNET: u32 = 1;

/// A capture file being written.
#[derive(Debug)]
pub struct Capture<W: Write> {
    output: W,
}

impl<W: Write> Capture<W> {
    /// Writes the file header.
    ///
    /// # Errors
    /// What the output returns.
    pub fn new(mut output: W) -> io::Result<Capture<W>> {
        output.write_all(&MAGIC_NANOSECONDS.to_le_bytes())?;
        output.write_all(&2u16.to_le_bytes())?; // version 2.4
        output.write_all(&4u16.to_le_bytes())?;
        output.write_all(&[0; 8])?; // reserved
        output.write_all(&(crate::FRAME_MAX as u32).to_le_bytes())?;
        output.write_all(&LINK_TYPE_ETHERNET.to_le_bytes())?;
        Ok(Capture { output })
    }

    /// Appends one frame. `unix_ns` is the time it came, since 1970.
    ///
    /// # Errors
    /// What the output returns.
    pub fn record(&mut self, unix_ns: u64, frame: &[u8]) -> io::Result<()> {
        let length = frame.len() as u32;
        let mut header = [0; 16];
        header[0..4].copy_from_slice(&((unix_ns / 1_000_000_000) as u32).to_le_bytes());
        header[4..8].copy_from_slice(&((unix_ns % 1_000_000_000) as u32).to_le_bytes());
        header[8..12].copy_from_slice(&length.to_le_bytes());
        header[12..16].copy_from_slice(&length.to_le_bytes());
        self.output.write_all(&header)?;
        self.output.write_all(frame)
    }

    /// Hands what is buffered to the file.
    ///
    /// # Errors
    /// What the output returns.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_one_record_are_these_bytes() {
        let mut bytes = Vec::new();
        let mut capture = Capture::new(&mut bytes).expect("a Vec takes all");
        capture
            .record(1_700_000_000_000_000_007, &[0xaa, 0xbb, 0xcc])
            .expect("a Vec takes all");
        #[rustfmt::skip]
        let expected = [
            0x4d, 0x3c, 0xb2, 0xa1,  2, 0, 4, 0,  0, 0, 0, 0,  0, 0, 0, 0,
            0x00, 0x10, 0x01, 0x00,  1, 0, 0, 0,
            0x00, 0xf1, 0x53, 0x65,  7, 0, 0, 0,  3, 0, 0, 0,  3, 0, 0, 0,
            0xaa, 0xbb, 0xcc,
        ];
        assert_eq!(bytes, expected);
    }
}
