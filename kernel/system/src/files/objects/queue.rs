//! Message queues of POSIX, mq_overview(7).
//!
//! Law: of messages with one priority the oldest comes first. Who has asked to be told of a message in an
//! empty queue is told once, and only if nobody waits to receive it. A queue without a name lives as long
//! as somebody has it open.

use super::super::access::Who;
use super::super::pipe::Patience;
use super::super::socket::Socket;
use crate::credentials::{DAC_OVERRIDE, FOWNER, SYS_RESOURCE};
use crate::signals::SignalInfo;
use crate::wait::{Stop, WaitQueue, Wakes};
use abi::Errno;
use abi::layout::{POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;
use spin::Mutex;

/// Priorities are below this (`MQ_PRIO_MAX`).
pub(in super::super) const PRIORITIES: u64 = 32_768;
/// What users may ask for (`linux/ipc_namespace.h`), and what nobody may: a message fits into one call.
const MESSAGES_MAX: i64 = 65_536;
const SIZE_MAX: i64 = 65_536;
/// The least size that may be set to be the largest.
const SIZE_MIN: i64 = 128;
/// The settings of queues (mq_overview(7)), and what they begin with.
pub(in super::super) const SETTINGS: [(&str, i64); 5] = [
    ("fs/mqueue/msg_default", 10),
    ("fs/mqueue/msg_max", 10),
    ("fs/mqueue/msgsize_default", 8192),
    ("fs/mqueue/msgsize_max", 8192),
    ("fs/mqueue/queues_max", 256),
];
/// The longest name.
const NAME_MAX: usize = 255;
/// How large its file seems to be (`ipc/mqueue.c`, FILENT_SIZE).
pub(in super::super) const FILE_SIZE: u64 = 80;
/// `SI_MESGQ`.
const SI_MESGQ: i32 = -3;

/// How somebody is told of a message.
pub(in super::super) enum Told {
    Nothing,
    /// By a signal, if it is not 0, with this value.
    Signal(u32, u64),
    /// These bytes through a socket to the kernel: the last one is what has happened.
    Socket(Arc<Socket>, [u8; 32]),
}

/// What the last byte says (`linux/mqueue.h`): there is a message, or the registration is over.
const WOKEN_UP: u8 = 1;
const REMOVED: u8 = 2;

/// Who is to be told of a message.
pub(in super::super) struct Registered {
    pub(in super::super) pid: u32,
    /// The table of descriptors by which it was done.
    pub(in super::super) table: u64,
    pub(in super::super) told: Told,
}

impl Registered {
    /// Tells who listens at a socket.
    fn tell_socket(&self, what: u8) {
        if let Told::Socket(socket, cookie) = &self.told {
            let mut cookie = *cookie;
            cookie[31] = what;
            socket.tell_bytes(&cookie);
        }
    }
}

#[derive(Default)]
struct State {
    /// By priority, highest first, then by age.
    messages: BTreeMap<(Reverse<u32>, u64), Vec<u8>>,
    next: u64,
    registered: Option<Registered>,
    /// Threads that wait to receive.
    receivers: Vec<u32>,
}

/// One queue.
pub(in super::super) struct Queue {
    pub(in super::super) messages_max: i64,
    pub(in super::super) size_max: i64,
    /// Whose limit it counts against.
    user: u32,
    uid: u32,
    gid: u32,
    pub(in super::super) mode: u32,
    state: Mutex<State>,
    changed: WaitQueue,
}

/// The queues of a node.
pub(in super::super) struct Queues {
    named: Mutex<BTreeMap<Vec<u8>, Arc<Queue>>>,
    /// The values of [`SETTINGS`].
    settings: Mutex<[i64; SETTINGS.len()]>,
}

impl Default for Queues {
    fn default() -> Queues {
        Queues {
            named: Mutex::default(),
            settings: Mutex::new(SETTINGS.map(|row| row.1)),
        }
    }
}

/// What mq_open(3) asks for.
pub(in super::super) struct Wanted<'a> {
    pub(in super::super) name: &'a [u8],
    pub(in super::super) creates: bool,
    pub(in super::super) exclusive: bool,
    pub(in super::super) mode: u32,
    /// Most messages, and bytes of each.
    pub(in super::super) limits: Option<(i64, i64)>,
    /// Whose queues may take how many bytes together (`RLIMIT_MSGQUEUE`).
    pub(in super::super) user: u32,
    /// See `user`.
    pub(in super::super) room: u64,
    /// 4 for reading and 2 for writing.
    pub(in super::super) access: u32,
}

/// What a queue counts for against `RLIMIT_MSGQUEUE`, as in Linux: its messages, and for each a pointer
/// and a node of a tree.
fn accounted(messages: i64, size: i64) -> u64 {
    const POINTER_AND_NODE: u64 = 8 + 48;
    (messages as u64).saturating_mul((size as u64).saturating_add(POINTER_AND_NODE))
}

fn check_name(name: &[u8]) -> Result<(), Errno> {
    match name {
        [] => Err(Errno::ENOENT),
        name if name.contains(&b'/') || name == b"." || name == b".." => Err(Errno::EACCES),
        name if name.len() > NAME_MAX => Err(Errno::ENAMETOOLONG),
        _ => Ok(()),
    }
}

impl Queues {
    /// The value of one of [`SETTINGS`].
    pub(in super::super) fn setting(&self, name: &str) -> Option<i64> {
        let at = SETTINGS.iter().position(|row| row.0 == name)?;
        Some(self.settings.lock()[at])
    }

    /// A write to one of [`SETTINGS`].
    pub(in super::super) fn set(&self, name: &str, text: &str) -> Result<(), Errno> {
        let at = SETTINGS.iter().position(|row| row.0 == name);
        let at = at.ok_or(Errno::EINVAL)?;
        let range = match at {
            0 | 1 => 1..=MESSAGES_MAX,
            2 | 3 => SIZE_MIN..=SIZE_MAX,
            _ => 0..=i64::from(i32::MAX),
        };
        let value = text.parse().ok().filter(|value| range.contains(value));
        self.settings.lock()[at] = value.ok_or(Errno::EINVAL)?;
        Ok(())
    }

    /// mq_open(3).
    pub(in super::super) fn open(
        &self,
        wanted: &Wanted,
        who: &Who,
        wakes: &Wakes,
    ) -> Result<Arc<Queue>, Errno> {
        check_name(wanted.name)?;
        let mut queues = self.named.lock();
        if let Some(queue) = queues.get(wanted.name) {
            if wanted.creates && wanted.exclusive {
                return Err(Errno::EEXIST);
            }
            queue.check(who, wanted.access)?;
            return Ok(queue.clone());
        }
        if !wanted.creates {
            return Err(Errno::ENOENT);
        }
        let [messages, messages_most, size, size_most, queues_most] = *self.settings.lock();
        let usual = (messages.min(messages_most), size.min(size_most));
        let (messages_max, size_max) = wanted.limits.unwrap_or(usual);
        let privileged = who.has(SYS_RESOURCE);
        let (most, largest) = match privileged {
            true => (MESSAGES_MAX, SIZE_MAX),
            false => (messages_most, size_most),
        };
        if !(1..=most).contains(&messages_max) || !(1..=largest).contains(&size_max) {
            return Err(Errno::EINVAL);
        }
        if queues.len() as i64 >= queues_most && !privileged {
            return Err(Errno::ENOSPC);
        }
        let bytes = accounted(messages_max, size_max);
        let own = queues.values().filter(|queue| queue.user == wanted.user);
        let held: u64 = own
            .map(|queue| accounted(queue.messages_max, queue.size_max))
            .sum();
        if held.saturating_add(bytes) > wanted.room {
            return Err(Errno::EMFILE);
        }
        let queue = Arc::new(Queue {
            user: wanted.user,
            messages_max,
            size_max,
            uid: who.uid,
            gid: who.gid,
            mode: wanted.mode & 0o777,
            state: Mutex::default(),
            changed: WaitQueue::new(wakes),
        });
        queues.insert(wanted.name.to_vec(), queue.clone());
        Ok(queue)
    }

    /// mq_unlink(3).
    pub(in super::super) fn unlink(&self, name: &[u8], who: &Who) -> Result<(), Errno> {
        check_name(name)?;
        let mut queues = self.named.lock();
        let queue = queues.get(name).ok_or(Errno::ENOENT)?;
        if !who.has(FOWNER) && who.uid != queue.uid {
            return Err(Errno::EPERM);
        }
        queues.remove(name);
        Ok(())
    }
}

impl Queue {
    fn check(&self, who: &Who, wanted: u32) -> Result<(), Errno> {
        let granted = if who.uid == self.uid {
            self.mode >> 6
        } else if who.is_in(self.gid) {
            self.mode >> 3
        } else {
            self.mode
        };
        match who.has(DAC_OVERRIDE) || wanted & !granted == 0 {
            true => Ok(()),
            false => Err(Errno::EACCES),
        }
    }

    /// Messages that are there.
    pub(in super::super) fn length(&self) -> i64 {
        self.state.lock().messages.len() as i64
    }

    /// What read(2) tells of it, in the words of Linux (mq_overview(7)).
    pub(in super::super) fn text(&self) -> String {
        let state = self.state.lock();
        let bytes: usize = state.messages.values().map(Vec::len).sum();
        let (how, signal, pid) = match &state.registered {
            None => (0, 0, 0),
            Some(held) => match held.told {
                Told::Signal(signal, _) => (0, signal, held.pid),
                Told::Nothing => (1, 0, held.pid),
                Told::Socket(..) => (2, 0, held.pid),
            },
        };
        format!("QSIZE:{bytes:<10} NOTIFY:{how:<5} SIGNO:{signal:<5} NOTIFY_PID:{pid:<6}\n")
    }

    /// Puts a message in; who is to be told of it, and how.
    pub(in super::super) fn send(
        &self,
        (text, priority): (&[u8], u32),
        sender: (u32, u32),
        waits: impl Fn(u32) -> bool,
        patience: Patience,
    ) -> Result<Option<(u32, SignalInfo)>, Stop> {
        if text.len() as i64 > self.size_max {
            return Err(Errno::EMSGSIZE.into());
        }
        let mut state = self.state.lock();
        if state.messages.len() as i64 >= self.messages_max {
            return Err(patience.stop(&self.changed));
        }
        let first = state.messages.is_empty();
        let age = state.next;
        state.next += 1;
        state
            .messages
            .insert((Reverse(priority), age), text.to_vec());
        state.receivers.retain(|receiver| waits(*receiver));
        let told = match first && state.receivers.is_empty() {
            true => state.registered.take(),
            false => None,
        };
        drop(state);
        self.changed.wake();
        let Some(registered) = told else {
            return Ok(None);
        };
        registered.tell_socket(WOKEN_UP);
        let Told::Signal(signal @ 1.., value) = registered.told else {
            return Ok(None);
        };
        let sender = u64::from(sender.0) | u64::from(sender.1) << 32;
        let info = SignalInfo {
            signal,
            code: SI_MESGQ,
            words: [sender, value],
            ..SignalInfo::default()
        };
        Ok(Some((registered.pid, info)))
    }

    /// Takes the first message out: its text and priority.
    pub(in super::super) fn receive(
        &self,
        room: u64,
        receiver: u32,
        patience: Patience,
    ) -> Result<(Vec<u8>, u32), Stop> {
        if room < self.size_max as u64 {
            return Err(Errno::EMSGSIZE.into());
        }
        let mut state = self.state.lock();
        state.receivers.retain(|waiting| *waiting != receiver);
        let Some(((Reverse(priority), _), text)) = state.messages.pop_first() else {
            if let Patience::Wait(_) = patience {
                state.receivers.push(receiver);
            }
            return Err(patience.stop(&self.changed));
        };
        drop(state);
        self.changed.wake();
        Ok((text, priority))
    }

    /// Registers a process to be told, or takes its registration back.
    pub(in super::super) fn register(
        &self,
        pid: u32,
        wanted: Option<Registered>,
        lives: impl Fn(u32) -> bool,
    ) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let held = state.registered.as_ref().map(|held| held.pid);
        let held = held.filter(|held| lives(*held));
        let over = match (wanted, held) {
            (Some(_), Some(_)) => return Err(Errno::EBUSY),
            (Some(wanted), None) => state.registered.replace(wanted),
            (None, Some(held)) if held == pid => state.registered.take(),
            (None, _) => None,
        };
        drop(state);
        if let Some(over) = over {
            over.tell_socket(REMOVED);
        }
        Ok(())
    }

    /// A descriptor of it was closed: who has registered by that table is not told any more, whatever other
    /// descriptors there are (mq_close(3)).
    pub(in super::super) fn closed(&self, table: u64) {
        let mut state = self.state.lock();
        let over = state.registered.take_if(|held| held.table == table);
        drop(state);
        if let Some(over) = over {
            over.tell_socket(REMOVED);
        }
    }

    pub(super) fn queue(&self) -> &WaitQueue {
        &self.changed
    }

    pub(super) fn ready(&self) -> i16 {
        let length = self.length();
        let mut ready = 0;
        if length > 0 {
            ready |= POLLIN | POLLRDNORM;
        }
        if length < self.messages_max {
            ready |= POLLOUT | POLLWRNORM;
        }
        ready
    }
}
