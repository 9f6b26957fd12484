//! A cluster that a conductor leads: it hears every console and may do anything to any node.
//!
//! Law: any node may end and begin again, the first one too; the cluster ends when the conductor says so, or
//! the watchdog. What a node's console said before it was killed is heard before anything is done about it.

use super::Cluster;
use crate::error::Error;
use crate::node::Event;
use qemu_tests::{Action, Conductor, Ended, Outcome};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

/// How often the conductor is asked when nothing happens.
const BEAT: Duration = Duration::from_millis(50);
/// Bytes of a line without an end that are kept.
const LINE_MAX: usize = 4096;

impl Cluster<'_> {
    /// Lets `conductor` lead the cluster to its end.
    pub(crate) fn conduct(
        mut self,
        deadline: Instant,
        conductor: &mut dyn Conductor,
    ) -> Result<Outcome, Error> {
        let began = Instant::now();
        let mut lines: Vec<Vec<u8>> = vec![Vec::new(); self.spec.nodes];
        let ended = loop {
            if Instant::now() >= deadline {
                break Ended::TimedOut;
            }
            match self.events.recv_timeout(BEAT) {
                Ok(Event::Output { node, bytes }) => {
                    self.nodes[node - 1].tail.push(&bytes);
                    whole_lines(&mut lines[node - 1], &bytes, &mut |line| {
                        conductor.line(began.elapsed(), node, line);
                    });
                }
                Ok(Event::Closed { node, start }) => {
                    if self.other_ended(node, start) {
                        conductor.died(began.elapsed(), node);
                    }
                    lines[node - 1].clear();
                }
                Ok(Event::Quit) => break Ended::Quit,
                Ok(Event::Typed(_) | Event::Window(_)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    break Ended::Crashed("the consoles are gone".to_owned());
                }
            }
            while let Some(action) = conductor.poll(began.elapsed()) {
                self.act(action)?;
            }
            if conductor.is_over() {
                break Ended::Over;
            }
        };
        if ended == Ended::TimedOut {
            self.tell_last_lines();
        }
        Ok(self.finish(ended))
    }

    /// What only conductors ask for.
    pub(super) fn act_on_node(&mut self, action: Action) {
        let number = match action {
            Action::Pause(number) | Action::Continue(number) | Action::Type(number, _) => number,
            _ => return,
        };
        let slot = self.nodes.get_mut(number.wrapping_sub(1));
        let Some(node) = slot.and_then(|slot| slot.node.as_mut()) else {
            return;
        };
        match action {
            Action::Pause(_) => node.pause(),
            Action::Continue(_) => node.proceed(),
            Action::Type(_, text) => node.type_in(text.as_bytes()),
            _ => {}
        }
    }
}

/// Hands out the lines that are complete, without the carriage returns.
fn whole_lines(begun: &mut Vec<u8>, bytes: &[u8], out: &mut dyn FnMut(&str)) {
    for &byte in bytes {
        match byte {
            b'\n' => {
                out(&String::from_utf8_lossy(begun));
                begun.clear();
            }
            b'\r' => {}
            _ if begun.len() < LINE_MAX => begun.push(byte),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole() {
        let (mut begun, mut lines) = (Vec::new(), Vec::new());
        for part in ["on", "e\r\ntw", "o\n", "three"] {
            whole_lines(&mut begun, part.as_bytes(), &mut |line| {
                lines.push(line.to_owned());
            });
        }
        assert_eq!(lines, ["one", "two"]);
        assert_eq!(begun, b"three");
    }
}
