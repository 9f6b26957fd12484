//! What a node that was taken over may say of a process that it has nothing to do with.
//!
//! Law: nothing of this is in a kernel that boots. Each of these words would have an effect if it came from whom it is of:
//! from home, owner, source or target.

use alloc::vec;
use alloc::vec::Vec;
use wire::{
    Attempt, BodyFacts, BootId, Call, Features, Message, MoveError, MoveHow, NodeId, Offer,
    Outcome, PageTag, Pid, Reply, Stalls, Terms, Whereabouts,
};

/// Of whom and of what it speaks.
#[derive(Clone, Copy)]
pub(crate) struct About {
    pub(crate) pid: u32,
    pub(crate) epoch: u64,
    pub(crate) attempt: Attempt,
    /// The number of a call.
    pub(crate) seq: u64,
    /// Who says so.
    pub(crate) liar: (NodeId, BootId),
}

impl About {
    /// All that others might say.
    pub(crate) fn words(&self) -> Vec<Message> {
        let About {
            epoch,
            attempt,
            seq,
            liar: (liar, boot),
            ..
        } = *self;
        let pid = Pid(self.pid);
        let everything = vec![(0, u32::MAX)];
        let mut words = vec![
            // Of home.
            self.reply(Outcome::Value(77)),
            self.reply(Outcome::Interrupted),
            self.reply(Outcome::Refused {
                epoch: epoch.saturating_add(1),
                owner: liar,
                owner_boot: boot,
            }),
            Message::Poke {
                pid,
                thread: Pid(0),
                epoch,
            },
            Message::MoveRequest {
                pid,
                epoch,
                request: seq,
                target: liar,
                asker: pid,
                how: MoveHow::default(),
            },
            Message::MoveCancel { pid, request: seq },
            Message::Decision {
                pid,
                epoch,
                owner: liar,
                owner_boot: boot,
                poke: true,
            },
            Message::Release { pid, epoch },
            Message::Lost { pid, epoch },
            Message::Query { pid, epoch },
            Message::Cut {
                pid,
                epoch,
                file: 0,
                size: 0,
            },
            Message::Stale {
                pid,
                epoch,
                window: 1,
            },
            Message::Recall {
                pid,
                epoch,
                object: 0,
                page: 0,
            },
            Message::Adopted { pid, epoch },
            // Of the owner.
            Message::Call(Call {
                pid,
                thread: pid,
                epoch,
                seq,
                // exit_group(2)
                number: 231,
                args: [0; 6],
                rooms: [0; 6],
                data: Vec::new(),
            }),
            Message::Cancel {
                pid,
                thread: pid,
                epoch,
                seq,
            },
            Message::MoveResult {
                pid,
                request: seq,
                result: Err(MoveError::Gone),
            },
            Message::Told {
                pid,
                facts: BodyFacts::default(),
            },
            Message::Advice {
                pid,
                epoch,
                target: liar,
            },
            // Of source and target.
            Message::AbortRequest {
                pid,
                old_epoch: epoch,
            },
            Message::Admit {
                pid,
                epoch,
                attempt,
                boot,
            },
            Message::Refuse {
                pid,
                epoch,
                attempt,
                reason: MoveError::NodeFull,
            },
            Message::Discarded {
                pid,
                epoch,
                attempt,
            },
            Message::Running {
                pid,
                epoch,
                image_ns: 0,
                first_run_ns: 0,
                present: 0,
            },
            Message::PageRequest {
                pid,
                epoch,
                page: 0x60_0000,
            },
            Message::PagesZero {
                pid,
                epoch,
                runs: everything.clone(),
            },
            Message::Kept {
                pid,
                epoch,
                attempt,
                since: epoch,
            },
            Message::PagesKept {
                pid,
                epoch,
                runs: everything,
                last: true,
            },
            Message::LetGo { pid, epoch },
            Message::PushEnd { pid, epoch },
            Message::NotLent {
                pid,
                epoch,
                object: 0,
                page: 0,
            },
            Message::Settled {
                pid,
                epoch,
                target: liar,
                stalls: Stalls::default(),
            },
        ];
        let whereabouts = [Whereabouts::Here, Whereabouts::Moving, Whereabouts::Ended];
        let orphans = whereabouts.map(|state| vec![(pid, epoch, state)]);
        let orphans = orphans.into_iter().chain([Vec::new()]);
        words.extend(orphans.map(|orphans| Message::Orphans { orphans }));
        words
    }

    fn reply(&self, outcome: Outcome) -> Message {
        let pid = Pid(self.pid);
        Message::Reply(Reply {
            pid,
            thread: pid,
            epoch: self.epoch,
            seq: self.seq,
            outcome,
            poke: true,
            data: Vec::new(),
        })
    }

    /// It is offered, by who does not have it.
    pub(crate) fn offer(&self) -> Message {
        Message::Offer(Offer {
            pid: Pid(self.pid),
            epoch: self.epoch,
            attempt: self.attempt,
            home: Pid(self.pid).home(),
            pages: 1,
            features: Features::default(),
            terms: Terms::Anyhow,
            copies: false,
            keeps: false,
            draft: Vec::new(),
        })
    }

    /// Pages of it: of memory at an address, in front of the image and behind it, and of a file.
    pub(crate) fn pages(&self, address: u64) -> [PageTag; 3] {
        let memory = PageTag::of_memory(Pid(self.pid), self.epoch, self.attempt, address);
        let file = PageTag {
            page: 1 << 63 | address,
            ..memory
        };
        [memory, memory.as_copy(), file]
    }
}
