//! A journal on a disk that crashes, and on one that lies.
//!
//! Law: after a crash at any write, of which any part of what was not flushed is there, whole or torn, the journal
//! has all that was flushed, and not a byte that was not noted, in the order in which it was. With a sector that is
//! turned, swapped, stale or empty it has that, too, or says that it is damaged; the frame that was written last may
//! be missing then, as nobody can tell it from a torn one.

use crate::{Choices, Sights, Target, must, saw};
use journal::{AREA_MIN, Journal, Mark, Op, Refused, SECTOR, sectors_used};
use std::collections::BTreeMap;

pub(crate) const JOURNAL: Target = Target {
    name: "journal",
    run,
    hear: |bytes, sights| run(&mut Choices::of_bytes(bytes), sights),
    wanted: &[
        "torn",
        "lost",
        "all there",
        "new area",
        "a frame",
        "damage found",
        "damage harmless",
        "last frame lost",
        "full",
    ],
};

type Map = BTreeMap<u64, Vec<u8>>;
const NODE: u64 = 3;

/// A disk that keeps what it was given for itself until it is flushed.
struct Disk {
    flushed: Vec<u8>,
    /// What each sector held before, the last first.
    before: BTreeMap<u64, Vec<u8>>,
    waiting: Vec<(u64, Vec<u8>)>,
    /// The sectors that the last write went to.
    last: std::ops::Range<u64>,
}

impl Disk {
    fn put(&mut self, sector: u64, bytes: &[u8]) {
        let at = sector as usize * SECTOR;
        let there = &mut self.flushed[at..at + bytes.len()];
        self.before.insert(sector, there.to_vec());
        there.copy_from_slice(bytes);
    }

    fn act(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::Write { sector, bytes } => {
                let end = sector + (bytes.len() / SECTOR) as u64;
                let fits = bytes.len() % SECTOR == 0
                    && bytes.len() <= journal::WRITE_MAX
                    && end as usize * SECTOR <= self.flushed.len();
                must(
                    fits && !bytes.is_empty(),
                    "writes whole sectors of the disk",
                )?;
                let sectors = (*sector..).zip(bytes.chunks(SECTOR));
                self.waiting
                    .extend(sectors.map(|(at, bytes)| (at, bytes.to_vec())));
                self.last = *sector..end;
            }
            Op::Flush => {
                for (sector, bytes) in std::mem::take(&mut self.waiting) {
                    self.put(sector, &bytes);
                }
            }
        }
        Ok(())
    }

    /// Of what was not flushed, each sector is there, is not, or is torn.
    fn crash(&mut self, random: &mut Choices<'_>, sights: &mut Sights) {
        for (sector, mut bytes) in std::mem::take(&mut self.waiting) {
            match random.below(4) {
                0 | 1 => {}
                2 => {
                    saw(sights, "lost");
                    continue;
                }
                _ => {
                    saw(sights, "torn");
                    let at = sector as usize * SECTOR;
                    let from = random.below(SECTOR as u64) as usize;
                    let to = random.between(from as u64, SECTOR as u64) as usize;
                    bytes[from..to].copy_from_slice(&self.flushed[at..at + SECTOR][from..to]);
                }
            }
            self.put(sector, &bytes);
        }
    }

    /// Something becomes of one sector or two; those that are not what they were.
    fn lie(&mut self, random: &mut Choices<'_>) -> Vec<u64> {
        let sectors = (self.flushed.len() / SECTOR) as u64;
        // Where something is.
        let written: Vec<u64> = self.before.keys().copied().collect();
        let one = written[random.below(written.len() as u64) as usize];
        let at = one as usize * SECTOR;
        let was = self.flushed.clone();
        match random.below(4) {
            0 => self.flushed[at + random.below(SECTOR as u64) as usize] ^= 1 << random.below(8),
            1 => {
                let other = match random.chance(5_000) {
                    true => written[random.below(written.len() as u64) as usize],
                    false => random.below(sectors),
                };
                let (mine, other) = (
                    self.flushed[at..at + SECTOR].to_vec(),
                    other as usize * SECTOR,
                );
                let theirs = self.flushed[other..other + SECTOR].to_vec();
                self.flushed[at..at + SECTOR].copy_from_slice(&theirs);
                self.flushed[other..other + SECTOR].copy_from_slice(&mine);
            }
            2 => {
                let before = self.before[&one].clone();
                self.flushed[at..at + SECTOR].copy_from_slice(&before);
            }
            _ => self.flushed[at..at + SECTOR].fill(0),
        }
        let sector = |bytes: &[u8], at: u64| bytes[at as usize * SECTOR..][..SECTOR].to_vec();
        let differs = |at: &u64| sector(&was, *at) != sector(&self.flushed, *at);
        (0..sectors).filter(differs).collect()
    }
}

/// What the journal holds.
fn map(journal: &Journal) -> Map {
    let entries = journal.iter();
    entries.map(|(key, value)| (key, value.to_vec())).collect()
}

/// One boot: some changes, of which the disk has done a part when it ends. The maps after each change, and how many of
/// them were flushed.
fn boot(
    random: &mut Choices<'_>,
    sights: &mut Sights,
    disk: &mut Disk,
    journal: &mut Journal,
    to_the_end: bool,
) -> Result<(Vec<Map>, Mark), String> {
    let mut maps = vec![map(journal)];
    let steps = random.between(1, 80);
    let mut step = 0;
    loop {
        if step < steps && random.chance(4_000) {
            let key = random.below(6);
            let longest = if random.chance(500) { 24 << 10 } else { 900 };
            let value = vec![random.below(256) as u8; random.below(longest) as usize];
            let noted = journal.noted();
            if random.chance(2_000) {
                journal.remove(key);
            } else if journal.put(key, &value).is_err() {
                saw(sights, "full");
                must(journal.noted() == noted, "what is refused changes nothing")?;
            }
            if journal.noted() > noted {
                maps.push(map(journal));
            }
        } else if let Some(op) = journal.poll() {
            if let Op::Write { sector, .. } = op {
                let header = sector % AREA_MIN < 2;
                saw(sights, if header { "new area" } else { "a frame" });
            }
            must(journal.poll().is_none(), "one thing at a time")?;
            disk.act(&op)?;
            journal.done(true);
        } else if step >= steps {
            break;
        }
        step += 1;
        if step >= steps && !to_the_end {
            break;
        }
    }
    must(
        journal.flushed() <= journal.noted(),
        "nothing is flushed that was not noted",
    )?;
    let all = journal.flushed() == journal.noted();
    must(!to_the_end || all, "what has time to be flushed is flushed")?;
    Ok((maps, journal.flushed()))
}

fn run(random: &mut Choices<'_>, sights: &mut Sights) -> Result<(), String> {
    let sectors = sectors_used(2 * AREA_MIN + random.below(8));
    let mut disk = Disk {
        flushed: vec![0; sectors as usize * SECTOR],
        before: BTreeMap::new(),
        waiting: Vec::new(),
        last: 0..0,
    };
    let mut maps = vec![Map::new()];
    let mut flushed = 0;
    let boots = random.between(1, 4);
    for number in 0..=boots {
        let salt = random.bits() as u32;
        let mut journal = Journal::open(NODE, salt, &disk.flushed)
            .map_err(|why| format!("refused after a crash: {why}"))?;
        let found = map(&journal);
        let of = maps
            .iter()
            .skip(flushed as usize)
            .position(|map| *map == found);
        must(
            of.is_some(),
            "what was flushed is there, and nothing that was not noted",
        )?;
        saw(sights, "all there");
        let last = number == boots;
        (maps, flushed) = boot(random, sights, &mut disk, &mut journal, last)?;
        if !last {
            disk.crash(random, sights);
        }
    }
    let other = Journal::open(NODE + 1, 0, &disk.flushed);
    must(
        matches!(other, Err(Refused::OfNode(NODE))),
        "a disk is of one node",
    )?;
    let last = disk.last.clone();
    let changed = disk.lie(random);
    match Journal::open(NODE, 0, &disk.flushed) {
        Err(Refused::Damaged(_)) => {
            saw(sights, "damage found");
            must(!changed.is_empty(), "nothing is called damaged that is not")
        }
        Err(why) => Err(format!("damaged, and called something else: {why}")),
        Ok(journal) if Some(&map(&journal)) == maps.last() => {
            saw(sights, "damage harmless");
            Ok(())
        }
        Ok(journal) => {
            saw(sights, "last frame lost");
            must(
                maps.contains(&map(&journal)),
                "nothing is believed that was not noted",
            )?;
            let excused = changed.iter().any(|sector| last.contains(sector));
            must(excused, "damage in front of the last frame is found")
        }
    }
}
