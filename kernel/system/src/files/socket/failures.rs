//! Messages that nobody took, given back to who asked for them: `IP_RECVERR` (ip(7)).
//!
//! Law: a message to a port of nobody comes back with what a host of the loopback would have said of it, cut to what
//! such an answer quotes. The error of a socket is that of the first message in the queue, until it is taken.
//!
//! Not here: other errors, as there is no way on which a message could be lost; connections.

use super::headers::Control;
use super::names::{Endpoint, Family, Name};
use super::transfer::Received;
use super::{Inner, Kind, Socket, options};
use abi::Errno;
use alloc::vec::Vec;

const IP_RECVERR: (u32, u32) = (options::SOL_IP, 11);
const IPV6_RECVERR: (u32, u32) = (options::SOL_IPV6, 25);
/// Bytes of a message that are quoted: of 576 and of 1280 without the headers of both.
const QUOTED: [usize; 2] = [576 - 2 * 20 - 2 * 8, 1280 - 2 * 40 - 2 * 8];
/// Messages in the queue of a socket at most.
const KEPT_MAX: usize = 64;

/// A message that came back.
pub(super) struct Failure {
    to: Endpoint,
    bytes: Vec<u8>,
}

/// Whether this option asks for such messages.
pub(super) fn concerns(level: u32, name: u32) -> bool {
    [IP_RECVERR, IPV6_RECVERR].contains(&(level, name))
}

/// `struct sock_extended_err`, and who has said it.
fn told(to: &Endpoint) -> Control {
    // The origin, type and code of an answer of ICMP that no port is there, or of ICMPv6.
    let ((level, kind), [origin, said, code], family) = match to.is_v4() {
        true => (IP_RECVERR, [2, 3, 3], Family::Inet),
        false => (IPV6_RECVERR, [3, 1, 4], Family::Inet6),
    };
    let mut error = Errno::ECONNREFUSED.0.to_le_bytes().to_vec();
    error.extend([origin, said, code]);
    error.resize(16, 0);
    error.extend(Name::Endpoint(Endpoint { port: 0, ..*to }).to_bytes(family));
    (level, kind, error)
}

impl Inner {
    /// The error of a socket is that of the message which came back first.
    fn follow_failures(&mut self) {
        self.error = (!self.failures.is_empty()).then_some(Errno::ECONNREFUSED);
    }
}

impl Socket {
    /// Nobody has the port that a message of this socket went to: it hears of it if it is connected or has asked.
    pub(in super::super) fn unreachable(&self, to: Option<Endpoint>, bytes: &[u8]) {
        let mut inner = self.lock();
        let option = match self.family {
            Family::Inet => IP_RECVERR,
            _ => IPV6_RECVERR,
        };
        let asked = inner.options.flag(option).is_some_and(|value| value != 0);
        if !asked && inner.remote.is_none() {
            return;
        }
        if asked
            && let Some(to) = to
            && inner.failures.len() < KEPT_MAX
        {
            let quoted = bytes.len().min(QUOTED[usize::from(!to.is_v4())]);
            let bytes = bytes[..quoted].to_vec();
            let to = to.definite();
            inner.failures.push_back(Failure { to, bytes });
        }
        inner.error = Some(Errno::ECONNREFUSED);
        drop(inner);
        self.wake_all();
    }

    /// The first message that came back, `most` bytes of it (`MSG_ERRQUEUE`).
    ///
    /// # Errors
    /// EAGAIN: none has.
    pub(in super::super) fn take_failure(&self, most: usize) -> Result<Received, Errno> {
        let mut inner = self.lock();
        let failure = inner.failures.pop_front().ok_or(Errno::EAGAIN)?;
        inner.follow_failures();
        drop(inner);
        let mut received = Received::end(Kind::Datagram);
        received.length = failure.bytes.len();
        received.bytes = failure.bytes;
        received.bytes.truncate(most);
        received.from = Some(Name::Endpoint(failure.to));
        received.told.push(told(&failure.to));
        Ok(received)
    }

    /// Nobody wants them any more. What the socket was to say of them it still says.
    pub(super) fn forget_failures(&self) {
        self.lock().failures.clear();
    }
}
