//! What a world tells: one line of fixed columns for each event.
//!
//! Law: events are numbers and fixed words, so that a world is judged and hashed alike whether anybody
//! listens or not.

use std::fmt;
use wire::NodeId;

/// Something that has happened in a world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// When, ns of the world's time.
    pub at_ns: u64,
    /// To which node; 0: to the network.
    pub node: NodeId,
    /// What: a fault, a step of a move, a line on a console.
    pub what: &'static str,
    /// Whose process, if it is about one.
    pub pid: u32,
    /// Its epoch, if it is about a move.
    pub epoch: u64,
    /// The other node, if there is one.
    pub peer: NodeId,
    /// More about it.
    pub text: String,
}

impl Event {
    /// The first line: what the columns are.
    pub const COLUMNS: &'static str =
        "         time_s  node  event       process  epoch  peer  about";

    /// A number for all of it.
    pub(crate) fn hash(&self) -> u64 {
        let words = [
            self.at_ns,
            u64::from(self.node.0),
            u64::from(self.pid),
            self.epoch,
            u64::from(self.peer.0),
        ];
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |word: u64| hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        words.into_iter().for_each(&mut add);
        self.what.bytes().map(u64::from).for_each(&mut add);
        self.text.bytes().map(u64::from).for_each(&mut add);
        hash
    }
}

impl fmt::Display for Event {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, ns) = (self.at_ns / 1_000_000_000, self.at_ns % 1_000_000_000);
        let shown = |number: u64| match number {
            0 => String::from("-"),
            number => number.to_string(),
        };
        write!(
            out,
            "{seconds:>5}.{ns:09}  {:>4}  {:<10}  {:>7}  {:>5}  {:>4}  {}",
            shown(u64::from(self.node.0)),
            self.what,
            shown(u64::from(self.pid)),
            shown(self.epoch),
            shown(u64::from(self.peer.0)),
            self.text
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_where_the_first_line_says() {
        let event = Event {
            at_ns: 6_012_345_678,
            node: NodeId(3),
            what: "image-out",
            pid: 65_538,
            epoch: 4,
            peer: NodeId(0),
            text: String::from("x"),
        };
        let line = event.to_string();
        assert_eq!(
            line,
            "    6.012345678     3  image-out     65538      4     -  x"
        );
        for (name, text) in [("event", "image-out"), ("about", "x")] {
            assert_eq!(Event::COLUMNS.find(name), line.rfind(text));
        }
    }
}
