//! A disk of sectors under the journal of a node: slow, and forgetful when its node dies.
//!
//! Law: what was flushed is there for ever, whole and where it was written. Of what was only written, each sector is there after a
//! death, is not, or is torn, as the seed has it. One request is under way at a time, as the journal wants it.
//!
//! Not here: sectors that turn or change places, which `tools/fuzz` has; and a disk that is too small for what its
//! node has to keep.

use crate::random::Random;
use crate::world::MS;
use journal::{AREA_MIN, Journal, Op, Refused, SECTOR};
use system::System;

/// The least that a journal takes: so it changes areas often.
const SECTORS: usize = 2 * AREA_MIN as usize;
/// The longest time that a request takes.
const STALL_NS: u64 = 3_000 * MS;

/// What a disk is like. Chances are per 10 000 requests.
#[derive(Clone, Copy, Debug)]
struct Habits {
    latency_ns: u64,
    stalls: u64,
    fails: u64,
}

pub(crate) struct Disk {
    platter: Vec<u8>,
    /// Sectors that were written and not flushed.
    waiting: Vec<(u64, Vec<u8>)>,
    /// What is being done, when it is over, and whether it succeeds.
    under_way: Option<(Op, u64, bool)>,
    habits: Habits,
    /// A request has failed in this boot.
    pub(crate) has_failed: bool,
}

impl Disk {
    /// A disk on which nothing was ever written; whether requests to it may fail.
    pub(crate) fn blank(random: &mut Random, may_fail: bool) -> Disk {
        let fails = random.below(3) == 0;
        Disk {
            platter: vec![0; SECTORS * SECTOR],
            waiting: Vec::new(),
            under_way: None,
            habits: Habits {
                latency_ns: [20_000, 200_000, 5 * MS, 40 * MS][random.below(4) as usize],
                stalls: random.below(2) * random.below(100),
                fails: if may_fail && fails { 20 } else { 0 },
            },
            has_failed: false,
        }
    }

    /// What a node finds that boots.
    pub(crate) fn open(&self, node: u64, salt: u32) -> Result<Journal, Refused> {
        Journal::open(node, salt, &self.platter)
    }

    /// When it has something to say.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.under_way.as_ref().map(|(_, at, _)| *at)
    }

    /// Lets the disk do what the System wants, and the System know what it has done.
    pub(crate) fn serve(&mut self, now: u64, system: &mut System, random: &mut Random) {
        loop {
            if let Some((op, at, succeeds)) = self.under_way.take() {
                if at > now {
                    self.under_way = Some((op, at, succeeds));
                    return;
                }
                self.act(op, succeeds);
                system.disk_done(succeeds);
            }
            let Some(op) = system.poll_disk() else { return };
            let habits = self.habits;
            let mut takes = random.between(habits.latency_ns / 4, habits.latency_ns);
            if random.chance(habits.stalls) {
                takes += random.below(STALL_NS);
            }
            let succeeds = !random.chance(habits.fails);
            self.under_way = Some((op, now + takes, succeeds));
        }
    }

    fn act(&mut self, op: Op, succeeds: bool) {
        self.has_failed |= !succeeds;
        match op {
            // What failed may have been written all the same.
            Op::Write { sector, bytes } => {
                let sectors = (sector..).zip(bytes.chunks(SECTOR));
                self.waiting
                    .extend(sectors.map(|(at, bytes)| (at, bytes.to_vec())));
            }
            Op::Flush if succeeds => {
                for (sector, bytes) in std::mem::take(&mut self.waiting) {
                    self.put(sector, &bytes);
                }
            }
            Op::Flush => {}
        }
    }

    fn put(&mut self, sector: u64, bytes: &[u8]) {
        let at = sector as usize * SECTOR;
        self.platter[at..at + SECTOR].copy_from_slice(bytes);
    }

    /// Its node is over, and what was under way with it.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        if let Some((op, ..)) = self.under_way.take()
            && let Op::Write { .. } = op
        {
            self.act(op, true);
        }
        self.has_failed = false;
        for (sector, mut bytes) in std::mem::take(&mut self.waiting) {
            match random.below(4) {
                0 | 1 => {}
                2 => continue,
                _ => {
                    let at = sector as usize * SECTOR;
                    let from = random.below(SECTOR as u64) as usize;
                    let to = random.between(from as u64, SECTOR as u64) as usize;
                    bytes[from..to].copy_from_slice(&self.platter[at..at + SECTOR][from..to]);
                }
            }
            self.put(sector, &bytes);
        }
    }
}
