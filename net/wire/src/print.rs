//! Frames as a line of text, in the manner of tcpdump.
//!
//! Law: printing is total; a header that does not check is printed with the reason.

use crate::{Header, Kind, Lane, PayloadKind};
use core::fmt;

impl fmt::Display for Header {
    /// `2.1f3a > 1.77c0 data bulk seq 17 page 0x401009 of 65543 epoch 3 length 4096 ack 4,0`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Err(reason) = self.check() {
            return write!(f, "invalid: {reason}");
        }
        let name = match self.kind() {
            Kind::Hello => "hello",
            Kind::HelloReply => "hello-reply",
            Kind::Data => "data",
            Kind::Ack => "ack",
            Kind::Echo => "echo",
            Kind::EchoReply => "echo-reply",
            Kind::Blast => "blast",
            Kind::BlastReport => "blast-report",
            Kind::Beacon => "beacon",
            Kind::Gossip => "gossip",
            Kind::Probe => "probe",
            Kind::Probed => "probed",
            Kind::Knock => "knock",
            Kind::Welcome => "welcome",
        };
        write!(
            f,
            "{}.{:04x} > ",
            self.source(),
            self.source_boot.get() & 0xffff
        )?;
        match self.target.get() {
            0 => f.write_str("all ")?,
            _ => write!(
                f,
                "{}.{:04x} ",
                self.target(),
                self.target_boot.get() & 0xffff
            )?,
        }
        f.write_str(name)?;
        match self.kind() {
            Kind::Data => {
                let lane = match self.lane() {
                    Lane::Urgent => "urgent",
                    Lane::Bulk => "bulk",
                };
                write!(f, " {lane} seq {}", self.seq)?;
                match self.payload_kind() {
                    PayloadKind::Whole => f.write_str(" message")?,
                    PayloadKind::First => f.write_str(" message(first)")?,
                    PayloadKind::Middle => f.write_str(" message(middle)")?,
                    PayloadKind::Last => f.write_str(" message(last)")?,
                    _ => {
                        let (pid, page) = (self.pid(), self.page.get());
                        write!(f, " page {page:#x} of {pid} epoch {}", self.epoch)?;
                    }
                }
                write!(f, " length {}", self.payload_length())?;
                if let Some(piece) = self.piece() {
                    write!(f, " piece {piece}")?;
                }
            }
            Kind::Echo | Kind::EchoReply | Kind::Blast | Kind::BlastReport => {
                write!(f, " seq {}", self.seq)?;
            }
            Kind::Beacon => {
                let edge = if self.page.get() == 1 {
                    "runs"
                } else {
                    "stopped"
                };
                write!(f, " {} {edge} epoch {}", self.pid(), self.epoch)?;
            }
            Kind::Gossip => write!(f, " length {}", self.payload_length())?,
            Kind::Hello | Kind::HelloReply | Kind::Ack | Kind::Probe | Kind::Probed => {}
            Kind::Knock | Kind::Welcome => {}
        }
        if matches!(self.kind(), Kind::Data | Kind::Ack) {
            write!(f, " ack {},{}", self.ack[0], self.ack[1])?;
            if self.sack[0].get() | self.sack[1].get() != 0 {
                write!(f, " sack {:x},{:x}", self.sack[0].get(), self.sack[1].get())?;
                if self.sack_from.get() != 0 {
                    write!(f, "+{}", self.sack_from)?;
                }
            }
        }
        Ok(())
    }
}
