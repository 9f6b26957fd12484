//! What only the body's node knows: home asks there, and here it is answered.
//!
//! Law: an answer is used once; a body that cannot be asked is told of as far as home knows it.

use crate::body::Body;
use crate::cpu_timers::CpuTime;
use crate::dispatch::wire_pid;
use crate::home::Home;
use crate::memory::{AreaFlags, MemoryPolicy, Space};
use crate::system::System;
use crate::thread::Run;
use crate::wait::Stop;
use abi::Errno;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write as _;
use machine::Access;
use wire::{BodyFacts, Message, NodeId, Pid};

/// A number as hexadecimal digits, at least eight as in proc(5). There may be thousands of areas, and nothing else is
/// done meanwhile, so numbers are put into these texts without the machinery of `format!`.
fn push_address(text: &mut String, value: u64) {
    let digits = (67 - (value | 1).leading_zeros()) / 4;
    for at in (0..digits.max(8)).rev() {
        let digit = (value >> (4 * at)) as u32 & 15;
        text.push(char::from_digit(digit, 16).unwrap_or('0'));
    }
}

/// A number in decimal digits, on the right of at least `width` columns.
fn push_number(text: &mut Vec<u8>, mut value: u64, width: usize) {
    let mut digits = [b' '; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    let from = at.min(digits.len() - width.min(digits.len()));
    text.extend_from_slice(&digits[from..]);
}

/// `/proc/PID/maps` as the body's node knows it: a file is a `@` and its handle at home. Who wants to know how much of an
/// area is in memory has all its pages looked at.
fn maps(space: &Space, detail: Detail, usual: MemoryPolicy) -> String {
    let mut text = String::new();
    for area in space.areas() {
        let flag = |access, letter| {
            if area.access.contains(access) {
                letter
            } else {
                '-'
            }
        };
        push_address(&mut text, area.start);
        text.push('-');
        push_address(&mut text, area.end);
        text.push(' ');
        text.push(flag(Access::READ, 'r'));
        text.push(flag(Access::WRITE, 'w'));
        text.push(flag(Access::EXECUTE, 'x'));
        text.push(if area.says_shared() { 's' } else { 'p' });
        text.push(' ');
        push_address(&mut text, area.file_offset());
        text.push(' ');
        match (area.home_file(), area.label()) {
            (Some(handle), _) => {
                let _ = write!(text, "@{handle}");
            }
            (None, label) => text.push_str(label.unwrap_or("")),
        }
        if detail == Detail::Pages {
            let (resident, private) = space.pages_in(area);
            let locked = u8::from(area.flags.contains(AreaFlags::LOCKED));
            let policy = match area.policy {
                policy if policy == MemoryPolicy::default() => usual,
                policy => policy,
            };
            let policy = policy.name();
            let _ = write!(text, "\t{resident} {private} {locked} {policy}");
        }
        text.push('\n');
    }
    text
}

/// What `/proc/PID/smaps` says of an area, from its line in [`maps`]: pages that are mapped, those of them
/// with contents of their own, and whether it is locked.
pub(super) fn counts(line: &str) -> [u64; 3] {
    let mut words = line.split_once('\t').map_or("", |parts| parts.1).split(' ');
    core::array::from_fn(|_| words.next().and_then(|word| word.parse().ok()).unwrap_or(0))
}

/// The fields of `/proc/PID/smaps` behind the name of an area, or of all areas together.
fn size_fields(text: &mut Vec<u8>, bytes: Option<u64>, [resident, private, locked]: [u64; 3]) {
    let page_kib = machine::PAGE_SIZE as u64 >> 10;
    let (resident, private) = (resident * page_kib, private * page_kib);
    let mut line = |name: &str, kib: u64| {
        text.extend_from_slice(name.as_bytes());
        text.resize(text.len() + 16_usize.saturating_sub(name.len()), b' ');
        push_number(text, kib, 8);
        text.extend_from_slice(b" kB\n");
    };
    if let Some(bytes) = bytes {
        line("Size:", bytes >> 10);
        line("KernelPageSize:", page_kib);
        line("MMUPageSize:", page_kib);
    }
    line("Rss:", resident);
    line("Pss:", resident);
    line("Pss_Dirty:", private);
    line("Shared_Clean:", 0);
    line("Shared_Dirty:", 0);
    line("Private_Clean:", resident.saturating_sub(private));
    line("Private_Dirty:", private);
    line("Referenced:", resident);
    line("Anonymous:", private);
    for name in [
        "KSM:",
        "LazyFree:",
        "AnonHugePages:",
        "ShmemPmdMapped:",
        "FilePmdMapped:",
        "Shared_Hugetlb:",
        "Private_Hugetlb:",
        "Swap:",
        "SwapPss:",
    ] {
        line(name, 0);
    }
    line("Locked:", if locked == 0 { 0 } else { resident });
}

/// `/proc/PID/smaps`.
pub(super) fn sizes(home: &Home, maps: &str) -> Vec<u8> {
    let mut text = Vec::new();
    for line in maps.lines() {
        text.extend_from_slice(&named_maps(home, line));
        let (start, end) = range_of(line);
        size_fields(&mut text, Some(end.saturating_sub(start)), counts(line));
        text.extend_from_slice(b"THPeligible:           0\n");
        let rights = line.split(' ').nth(1).unwrap_or("").as_bytes();
        let mut flags = String::from("VmFlags:");
        for (letter, flag) in [(b'r', " rd"), (b'w', " wr"), (b'x', " ex"), (b's', " sh")] {
            if rights.contains(&letter) {
                flags.push_str(flag);
            }
        }
        flags.push_str(" mr mw me");
        if counts(line)[2] != 0 {
            flags.push_str(" lo");
        }
        flags.push('\n');
        text.extend_from_slice(flags.as_bytes());
    }
    text
}

/// `/proc/PID/numa_maps`: the policy of each area, and how many of its pages are on node 0.
pub(super) fn on_nodes(home: &Home, maps: &str) -> Vec<u8> {
    let mut text = Vec::new();
    for line in maps.lines() {
        let policy = line.rsplit('\t').next().unwrap_or("");
        let policy = policy.splitn(4, ' ').nth(3).unwrap_or("default");
        let [resident, private, _] = counts(line);
        let mut row = String::new();
        push_address(&mut row, range_of(line).0);
        let _ = write!(row, " {policy}");
        text.extend_from_slice(row.as_bytes());
        let named = named_maps(home, line);
        match named.get(MAPS_NAME_COLUMN..).map(<[u8]>::trim_ascii_end) {
            Some(b"[heap]") => text.extend_from_slice(b" heap"),
            Some(b"[stack]") => text.extend_from_slice(b" stack"),
            Some(name) if name.starts_with(b"/") => {
                text.extend_from_slice(b" file=");
                text.extend_from_slice(name);
            }
            _ => {}
        }
        let mut count = |name: &str, pages: u64| {
            if pages > 0 {
                text.extend_from_slice(name.as_bytes());
                push_number(&mut text, pages, 1);
            }
        };
        count(" anon=", private);
        count(" dirty=", private);
        count(" mapped=", if resident == private { 0 } else { resident });
        count(" N0=", resident);
        count(" kernelpagesize_kB=", if resident == 0 { 0 } else { 4 });
        text.push(b'\n');
    }
    text
}

/// `/proc/PID/smaps_rollup`.
pub(super) fn all_sizes(maps: &str) -> Vec<u8> {
    let (mut first, mut last) = (u64::MAX, 0);
    let mut sum = [0; 3];
    for line in maps.lines() {
        let (start, end) = range_of(line);
        (first, last) = (first.min(start), last.max(end));
        for (sum, count) in sum.iter_mut().zip(counts(line)) {
            *sum += count;
        }
    }
    let range = format!("{:08x}-{last:08x} ---p 00000000 00:00 0 ", first.min(last));
    let mut text = range.into_bytes();
    text.resize(MAPS_NAME_COLUMN, b' ');
    text.extend_from_slice(b"[rollup]\n");
    size_fields(&mut text, None, sum);
    text
}

/// The addresses at the beginning of a line.
pub(super) fn range_of(line: &str) -> (u64, u64) {
    let range = line
        .split(' ')
        .next()
        .and_then(|range| range.split_once('-'));
    let (start, end) = range.unwrap_or(("0", "0"));
    let number = |digits| u64::from_str_radix(digits, 16).unwrap_or(0);
    (number(start), number(end))
}

/// The column in which proc(5) has the name of a mapping.
const MAPS_NAME_COLUMN: usize = 73;

/// `/proc/PID/maps` with the files' own names in the place of handles.
pub(super) fn named_maps(home: &Home, maps: &str) -> Vec<u8> {
    let mut text = Vec::new();
    for line in maps.lines() {
        // Address, rights and offset are the first three words.
        let end = line.match_indices(' ').nth(2).map_or(line.len(), |at| at.0);
        let (range, name) = line.split_at(end);
        let name = name.split('\t').next().unwrap_or("").trim_ascii();
        let file = name.strip_prefix('@').map(|handle| {
            let known = handle
                .parse()
                .ok()
                .and_then(|handle| home.mapped.name(handle));
            known.unwrap_or((0, b"(deleted)".to_vec()))
        });
        let begin = text.len();
        text.extend_from_slice(range.as_bytes());
        let mut named = |inode: u64, device: &[u8], name: &[u8]| {
            text.extend_from_slice(device);
            push_number(&mut text, inode, 1);
            text.push(b' ');
            if !name.is_empty() {
                text.resize(text.len().max(begin + MAPS_NAME_COLUMN), b' ');
                text.extend_from_slice(name);
            }
        };
        match file {
            Some((inode, path)) => named(inode, b" 00:14 ", &path),
            None => named(0, b" 00:00 ", name.as_bytes()),
        }
        text.push(b'\n');
    }
    text
}

/// What is wanted of a body's areas.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Where they are.
    Areas,
    /// How much of each is in memory, too.
    Pages,
}

impl System {
    /// What the node of a body tells home.
    fn facts(&self, body: &Body, detail: Detail) -> BodyFacts {
        let space = self.spaces.get(body.space);
        let usage = space.map(Space::usage).unwrap_or_default();
        let shared = self.spaces.users(body.space) > 1;
        let traced = self.tracing.holds(body.pid);
        let obstacle = match space {
            _ if traced.is_some() => traced,
            _ if shared && body.vfork_parent.is_some() => {
                Some("it runs in its parent's memory (vfork)")
            }
            _ if shared => Some("it shares its memory with another process"),
            Some(space) => space.obstacle(),
            None => Some("it ends"),
        };
        let ready = |tid: &u32| {
            let thread = self.threads.get(tid);
            thread.is_some_and(|thread| thread.run != Run::Blocked)
        };
        let first = self.threads.get(&body.pid);
        let state = match body.stopped {
            _ if first.is_some_and(|thread| thread.traced.stopped) => b't',
            true => b'T',
            false if body.threads.iter().any(ready) => b'R',
            false => b'S',
        };
        let usual = first.map(|thread| thread.memory_policy).unwrap_or_default();
        BodyFacts {
            state,
            user_ns: body.cpu.user_ns,
            system_ns: body.cpu.system_ns,
            virtual_bytes: usage.virtual_bytes,
            resident_pages: usage.resident_pages,
            obstacle: obstacle.unwrap_or("").to_string(),
            placement: String::new(),
            maps: space.map_or_else(String::new, |space| maps(space, detail, usual)),
            threads: body.threads.len() as u32,
            peak_pages: body.peak_pages.max(usage.resident_pages),
            faults: body.faults,
            ignored: body.actions.ignored(),
            caught: body.actions.caught(),
        }
    }

    /// Home asks about a body that is here.
    pub(crate) fn query(&mut self, from: NodeId, pid: Pid, epoch: u64) {
        if from != pid.home() {
            return;
        }
        let found = self
            .bodies
            .get(&pid.0)
            .filter(|body| body.epoch == epoch)
            .map(|body| BodyFacts {
                placement: self.explain_placement(body),
                ..self.facts(body, Detail::Pages)
            });
        self.send(
            from,
            Message::Told {
                pid,
                facts: found.unwrap_or_default(),
            },
        );
    }

    /// The node of a body answers.
    pub(crate) fn told(&mut self, from: NodeId, pid: Pid, facts: BodyFacts) {
        if let Some(home) = self.homes.get_mut(&pid.0)
            && home.record.gate().owner() == from
            && core::mem::take(&mut home.facts_asked)
        {
            home.facts = Some(facts);
            home.request_done.wake();
        }
    }

    /// What is known of a body: at once if it is here, else by a question to its node.
    pub(crate) fn facts_of(&mut self, pid: u32, reader: u32) -> Result<BodyFacts, Stop> {
        self.detailed_facts_of(pid, reader, Detail::Areas)
    }

    /// The same with a word on the pages of each area. (From elsewhere they always come.)
    pub(super) fn detailed_facts_of(
        &mut self,
        pid: u32,
        reader: u32,
        detail: Detail,
    ) -> Result<BodyFacts, Stop> {
        if let Some(body) = self.bodies.get(&pid) {
            return Ok(self.facts(body, detail));
        }
        let me = self.me;
        let home = self.homes.get_mut(&pid).ok_or(Errno::ESRCH)?;
        if !home.lives() {
            return Ok(BodyFacts {
                state: b'Z',
                ..BodyFacts::default()
            });
        }
        if let Some(facts) = home.facts.take() {
            home.used.cpu = home.used.cpu.later(cpu_of(&facts));
            return Ok(facts);
        }
        let (owner, epoch) = (home.record.gate().owner(), home.record.gate().epoch());
        let reachable = owner != me && self.reachable(owner).is_ok();
        let home = self.homes.get_mut(&pid).ok_or(Errno::ESRCH)?;
        if !reachable {
            // In the middle of a move, or out of reach: what home knows by itself.
            return Ok(BodyFacts {
                state: b'S',
                ..BodyFacts::default()
            });
        }
        home.facts_asked = true;
        home.request_done.wait(reader);
        self.send(
            owner,
            Message::Query {
                pid: wire_pid(pid),
                epoch,
            },
        );
        Err(Stop::Wait)
    }
}

/// The CPU time in what a node tells of a body.
pub(crate) fn cpu_of(facts: &BodyFacts) -> CpuTime {
    CpuTime {
        user_ns: facts.user_ns,
        system_ns: facts.system_ns,
    }
}

#[cfg(test)]
mod tests {
    use super::{push_address, push_number, size_fields};
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    #[test]
    fn numbers_are_written_as_format_writes_them() {
        let ends = [
            0,
            1,
            9,
            10,
            15,
            16,
            0xffff_ffff,
            1 << 32,
            u64::MAX / 10,
            u64::MAX,
        ];
        for value in ends
            .into_iter()
            .chain((0..64).map(|bit| (1_u64 << bit) - 1))
        {
            let mut address = String::new();
            push_address(&mut address, value);
            assert_eq!(address, format!("{value:08x}"));
            for width in [1, 8, 19, 20] {
                let mut number = Vec::new();
                push_number(&mut number, value, width);
                assert_eq!(number, format!("{value:>width$}").into_bytes());
            }
        }
    }

    #[test]
    fn sizes_stand_in_the_columns_of_linux() {
        let mut text = Vec::new();
        size_fields(&mut text, Some(132 << 10), [33, 7, 1]);
        let text = String::from_utf8(text).expect("text");
        assert!(
            text.starts_with("Size:                132 kB\nKernelPageSize:        4 kB\n"),
            "{text}"
        );
        assert!(
            text.contains("\nPrivate_Clean:       104 kB\nPrivate_Dirty:        28 kB\n"),
            "{text}"
        );
        assert!(
            text.ends_with("SwapPss:               0 kB\nLocked:              132 kB\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 22);
    }
}
