//! Queues of messages: msgget(2), msgsnd(2), msgrcv(2), msgctl(2).
//!
//! Law: messages of one type come in the order in which they were sent.

use super::{
    Caller, Entry, IPC_INFO, IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT, Ipc, READS, WRITES, put,
};
use crate::credentials::SYS_RESOURCE;
use crate::wait::{Stop, Wakes};
use abi::Errno;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

const MSG_NOERROR: u32 = 0o10000;
const MSG_EXCEPT: u32 = 0o20000;
const MSG_COPY: u32 = 0o40000;
const MSG_STAT: u32 = 11;
const MSG_INFO: u32 = 12;
const MSG_STAT_ANY: u32 = 13;
/// What the queues of a node hold together.
const ALL_MAX: u64 = 64 << 20;

struct Message {
    kind: i64,
    text: Vec<u8>,
}

/// One queue.
pub(super) struct Queue {
    messages: VecDeque<Message>,
    bytes: u64,
    limit: u64,
    sent_s: u64,
    received_s: u64,
    changed_s: u64,
    sender: u32,
    receiver: u32,
}

/// What msgrcv(2) asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receive {
    pub(crate) most: usize,
    pub(crate) kind: i64,
    pub(crate) flags: u32,
}

/// A message that was received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Taken {
    pub(crate) kind: i64,
    pub(crate) text: Vec<u8>,
}

impl Queue {
    /// Where the wanted message is.
    fn position(&self, wanted: &Receive) -> Option<usize> {
        let all = self.messages.iter();
        if wanted.flags & MSG_COPY != 0 {
            let at = usize::try_from(wanted.kind).ok()?;
            return (at < self.messages.len()).then_some(at);
        }
        match wanted.kind {
            0 => (!self.messages.is_empty()).then_some(0),
            kind if kind > 0 && wanted.flags & MSG_EXCEPT != 0 => {
                let mut all = all;
                all.position(|message| message.kind != kind)
            }
            kind if kind > 0 => {
                let mut all = all;
                all.position(|message| message.kind == kind)
            }
            kind => {
                let highest = kind.checked_neg().unwrap_or(i64::MAX);
                let fitting = all.enumerate().filter(|(_, held)| held.kind <= highest);
                fitting.min_by_key(|(_, held)| held.kind).map(|(at, _)| at)
            }
        }
    }
}

impl Ipc {
    /// msgget(2).
    pub(crate) fn msgget(
        &mut self,
        caller: &Caller,
        key: i32,
        flags: u32,
        wakes: &Wakes,
    ) -> Result<u64, Errno> {
        let now_s = caller.now_s;
        let limit = self.limits.queue;
        let id = self.queues.get(
            caller,
            key,
            flags,
            wakes,
            |_| Ok(()),
            || {
                Ok(Queue {
                    messages: VecDeque::new(),
                    bytes: 0,
                    limit,
                    sent_s: 0,
                    received_s: 0,
                    changed_s: now_s,
                    sender: 0,
                    receiver: 0,
                })
            },
        )?;
        Ok(id as u64)
    }

    /// msgsnd(2).
    pub(crate) fn msgsnd(
        &mut self,
        caller: &Caller,
        id: i32,
        kind: i64,
        text: &[u8],
        flags: u32,
    ) -> Result<u64, Stop> {
        if kind < 1 || text.len() > self.limits.message {
            return Err(Errno::EINVAL.into());
        }
        let queues = self.queues.entries.iter().flatten();
        let all: u64 = queues.map(|entry| entry.object.bytes).sum();
        let entry = self.queues.find_again(id, caller)?;
        entry.permissions.check(caller, WRITES)?;
        let queue = &mut entry.object;
        let length = text.len() as u64;
        let fits = queue.bytes + length <= queue.limit
            && (queue.messages.len() as u64) < queue.limit
            && all + length <= ALL_MAX;
        if !fits {
            if flags & IPC_NOWAIT != 0 {
                return Err(Errno::EAGAIN.into());
            }
            entry.changed.wait(caller.waiter);
            self.queues.waiting.insert(caller.waiter, id);
            return Err(Stop::Wait);
        }
        queue.messages.push_back(Message {
            kind,
            text: text.to_vec(),
        });
        queue.bytes += length;
        queue.sent_s = caller.now_s;
        queue.sender = caller.pid;
        entry.changed.wake();
        Ok(0)
    }

    /// msgrcv(2).
    pub(crate) fn msgrcv(
        &mut self,
        caller: &Caller,
        id: i32,
        wanted: &Receive,
    ) -> Result<Taken, Stop> {
        let copies = wanted.flags & MSG_COPY != 0;
        if copies && (wanted.flags & IPC_NOWAIT == 0 || wanted.flags & MSG_EXCEPT != 0) {
            return Err(Errno::EINVAL.into());
        }
        let entry = self.queues.find_again(id, caller)?;
        entry.permissions.check(caller, READS)?;
        let queue = &mut entry.object;
        let Some(at) = queue.position(wanted) else {
            if wanted.flags & IPC_NOWAIT != 0 {
                return Err(Errno::ENOMSG.into());
            }
            entry.changed.wait(caller.waiter);
            self.queues.waiting.insert(caller.waiter, id);
            return Err(Stop::Wait);
        };
        let length = queue.messages[at].text.len();
        if length > wanted.most && wanted.flags & MSG_NOERROR == 0 {
            return Err(Errno::E2BIG.into());
        }
        let (kind, mut text) = if copies {
            let held = &queue.messages[at];
            (held.kind, held.text.clone())
        } else {
            let Some(held) = queue.messages.remove(at) else {
                return Err(Errno::ENOMSG.into());
            };
            queue.bytes -= length as u64;
            queue.received_s = caller.now_s;
            queue.receiver = caller.pid;
            entry.changed.wake();
            (held.kind, held.text)
        };
        text.truncate(wanted.most);
        Ok(Taken { kind, text })
    }

    /// msgctl(2): the value, and what is to be written to where the third argument points.
    pub(crate) fn msgctl(
        &mut self,
        caller: &Caller,
        id: i32,
        command: u32,
        given: &[u8],
    ) -> Result<(u64, Vec<u8>), Errno> {
        match command {
            IPC_INFO | MSG_INFO => Ok(self.msg_info(command)),
            IPC_RMID => {
                self.queues.remove(id, caller)?;
                Ok((0, Vec::new()))
            }
            MSG_STAT | MSG_STAT_ANY => {
                let any = command == MSG_STAT_ANY;
                let (id, entry) = self.queues.at_row(id, caller, any)?;
                Ok((id, status(entry)))
            }
            IPC_STAT => {
                let entry = self.queues.find(id)?;
                entry.permissions.check(caller, READS)?;
                Ok((0, status(entry)))
            }
            IPC_SET => {
                let entry = self.queues.find(id)?;
                entry.permissions.check_owner(caller)?;
                let limit = given.get(88..96).and_then(|bytes| bytes.try_into().ok());
                let limit = limit.map(u64::from_le_bytes).ok_or(Errno::EFAULT)?;
                if limit > self.limits.queue && !caller.ids.has(SYS_RESOURCE) {
                    return Err(Errno::EPERM);
                }
                entry.permissions.change(given)?;
                entry.object.limit = limit;
                entry.object.changed_s = caller.now_s;
                entry.changed.wake();
                Ok((0, Vec::new()))
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// `/proc/sysvipc/msg`.
    pub(crate) fn msg_table(&self) -> String {
        let mut text = String::from(
            "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n",
        );
        for (index, entry) in self.queues.entries.iter().enumerate() {
            let Some(entry) = entry else { continue };
            let (held, queue) = (&entry.permissions, &entry.object);
            let _ = writeln!(
                text,
                "{:10} {:10}  {:4o}  {:10} {:10} {:5} {:5} {:5} {:5} {:5} {:5} {:10} {:10} {:10}",
                held.key,
                self.queues.id_of(index),
                held.mode,
                queue.bytes,
                queue.messages.len(),
                queue.sender,
                queue.receiver,
                held.uid,
                held.gid,
                held.cuid,
                held.cgid,
                queue.sent_s,
                queue.received_s,
                queue.changed_s
            );
        }
        text
    }

    /// `struct msginfo`, and the highest index.
    fn msg_info(&self, command: u32) -> (u64, Vec<u8>) {
        let (used, highest) = self.queues.count();
        let queues = self.queues.entries.iter().flatten();
        let (messages, bytes) = queues.fold((0, 0), |(messages, bytes), entry| {
            (
                messages + entry.object.messages.len(),
                bytes + entry.object.bytes,
            )
        });
        let (pool, map, tql) = match command {
            MSG_INFO => (used as u32, messages as u32, bytes as u32),
            _ => {
                let held = self.limits.queue as u32;
                let (queues, of_each) = (self.queues.room.most as u64, self.limits.queue);
                ((queues * of_each / 1024) as u32, held, held)
            }
        };
        let words: [u32; 8] = [
            pool,
            map,
            self.limits.message as u32,
            self.limits.queue as u32,
            self.queues.room.most as u32,
            16,
            tql,
            0xffff,
        ];
        let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        (highest as u64, bytes)
    }
}

/// `struct msqid64_ds`.
fn status(entry: &Entry<Queue>) -> Vec<u8> {
    let queue = &entry.object;
    let mut bytes = entry.permissions.to_bytes();
    bytes.resize(120, 0);
    for (at, field) in [
        (48, queue.sent_s),
        (56, queue.received_s),
        (64, queue.changed_s),
        (72, queue.bytes),
        (80, queue.messages.len() as u64),
        (88, queue.limit),
    ] {
        put(&mut bytes, at, &field.to_le_bytes());
    }
    put(&mut bytes, 96, &queue.sender.to_le_bytes());
    put(&mut bytes, 100, &queue.receiver.to_le_bytes());
    bytes
}
