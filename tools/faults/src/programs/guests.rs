//! Programs that know what a reboot of their home may take from them, and nothing else.
//!
//! Law: what home keeps on its disk (ids, descriptors, umask, limits, group, parent) is as if it had never died, each call done once
//! however often it was made; what it was told that nobody knows is said so, once for each reboot; a file of
//! the boot image is read right or says that it is lost.

use super::*;
use crate::assembler::Value::{In, Is};
use crate::assembler::*;

const EIO: u64 = -5_i64 as u64;
/// The first descriptor that is free: init has three.
const FREE: u64 = 3;
const LIMITS: u64 = ZEROED + 256;
/// Of core files, which nothing here depends on.
const RLIMIT_CORE: u64 = 4;
/// What the other program in the image begins with: an ELF file.
const IMAGE: &[u8; 8] = b"\x7fELF\x02\x01\x01\0";

/// What a guest knows of itself.
struct Known {
    umask: u64,
    limit: Option<u64>,
    /// Copies of its console, the next one free.
    copies: u64,
    leads: bool,
}

impl Author<'_> {
    /// A worker that lives through reboots of its home.
    pub(super) fn guest(&mut self, name: &str) {
        let mut role = Role::new(name);
        let title = self.asm.path(name);
        self.asm
            .call(157, &[Is(15), Is(title), Is(0), Is(0), Is(0)]);
        self.asm.expect(RAX, 0, "guest: prctl(PR_SET_NAME)");
        self.guest_life(&mut role, 2 * self.work.steps, 0, 0o22);
    }

    fn guest_life(&mut self, role: &mut Role, steps: u64, status: u64, umask: u64) {
        let mut known = Known {
            umask,
            limit: None,
            copies: 0,
            leads: false,
        };
        self.asm.call(39, &[]);
        self.asm.two(op::MOV, R15, RAX);
        self.asm.call(95, &[Is(umask)]);
        for _ in 0..steps {
            self.guest_step(role, &mut known);
            self.asm.call(39, &[]);
            let same = self.asm.label();
            self.asm.jump_equal(RAX, R15, same);
            self.asm.fail(RAX, "guest: getpid");
            self.asm.place(same);
        }
        while known.copies > 0 {
            self.drop_copy(&mut known);
        }
        self.check_memory(role);
        self.tell(role, "end");
        self.asm.call(231, &[Is(status)]);
        self.asm.fail(RAX, "guest: exit came back");
    }

    fn guest_step(&mut self, role: &mut Role, known: &mut Known) {
        match self.random.below(if role.depth < 2 { 17 } else { 16 }) {
            0..=2 => self.tell(role, ""),
            3 => self.touch(role),
            4 => self.check_memory(role),
            5 | 6 => self.nap(),
            7 | 8 => self.go_away(),
            9..=12 => {
                for _ in 0..self.random.between(1, 12) {
                    self.change(known);
                }
            }
            13 => self.limit(known),
            14 => self.group(known),
            15 => self.image(known),
            16 => self.guest_child(role, known),
            _ => self.nap(),
        }
    }

    /// Something that home does once, however often it is asked.
    fn change(&mut self, known: &mut Known) {
        match self.random.below(3) {
            0 if known.copies < 4 => {
                self.asm.call(32, &[Is(1)]);
                let free = FREE + known.copies;
                self.asm.expect(RAX, free, "guest: dup gives the next one");
                known.copies += 1;
            }
            1 if known.copies > 0 => self.drop_copy(known),
            _ => {
                let mask = self.random.below(0o1000);
                self.asm.call(95, &[Is(mask)]);
                self.asm
                    .expect(RAX, known.umask, "guest: umask is what it was");
                known.umask = mask;
            }
        }
    }

    fn drop_copy(&mut self, known: &mut Known) {
        known.copies -= 1;
        let last = FREE + known.copies;
        self.asm.call(3, &[Is(last)]);
        self.asm.expect(RAX, 0, "guest: close of a copy");
        self.asm.call(3, &[Is(last)]);
        let bad = -9_i64 as u64;
        self.asm.expect(RAX, bad, "guest: a copy is closed twice");
    }

    /// A limit, which is what it was set to.
    fn limit(&mut self, known: &mut Known) {
        let soft = self.random.below(1 << 20);
        let new = self.asm.longs(&[soft, u64::MAX]);
        let args = [Is(0), Is(RLIMIT_CORE), Is(new), Is(LIMITS)];
        self.asm.call(302, &args);
        self.asm.expect(RAX, 0, "guest: prlimit64");
        if let Some(before) = known.limit {
            self.asm.set(RSI, LIMITS);
            self.asm.load(RDX, RSI);
            self.asm
                .expect(RDX, before, "guest: a limit is what it was");
        }
        known.limit = Some(soft);
    }

    /// A group of its own, which it stays in.
    fn group(&mut self, known: &mut Known) {
        if !std::mem::replace(&mut known.leads, true) {
            self.asm.call(109, &[Is(0), Is(0)]);
            self.asm.expect(RAX, 0, "guest: setpgid");
        }
        self.asm.call(121, &[Is(0)]);
        let same = self.asm.label();
        self.asm.jump_equal(RAX, R15, same);
        self.asm.fail(RAX, "guest: getpgid");
        self.asm.place(same);
    }

    /// Goes elsewhere; it need not get there.
    fn go_away(&mut self) {
        let path = self.asm.path("/proc/self/goto");
        let node = self.random.between(1, self.work.nodes);
        let mode = self.random.below(MoveMode::ALL.len() as u64) as usize;
        let order = format!("{node} mode={}", MoveMode::ALL[mode].name());
        let text = self.asm.bytes(format!("{order:<31}\n").as_bytes());
        self.asm.call(257, &[Is(AT_FDCWD), Is(path), Is(1), Is(0)]);
        self.asm.two(op::MOV, R12, RAX);
        let bad = self.asm.label();
        self.asm.jump_negative(RAX, bad);
        self.asm.call(1, &[In(R12), Is(text), Is(32)]);
        self.close_own(R12);
        let over = self.asm.label();
        self.asm.jump(over);
        self.asm.place(bad);
        self.asm.fail(RAX, "guest: the own goto is opened");
        self.asm.place(over);
    }

    fn close_own(&mut self, descriptor: Reg) {
        self.asm.call(3, &[In(descriptor)]);
        self.asm.expect(RAX, 0, "guest: close");
    }

    /// Reads a file of the boot image in pieces: they are right, or it is lost.
    fn image(&mut self, known: &Known) {
        let path = self.asm.path("/other");
        self.asm.call(257, &[Is(AT_FDCWD), Is(path), Is(0), Is(0)]);
        let free = FREE + known.copies;
        self.asm.expect(RAX, free, "guest: open gives the next one");
        let over = self.asm.label();
        for place in 0..IMAGE.len() as u64 / 2 {
            self.asm.set(RSI, BUFFER);
            self.asm.set(RDI, 0);
            self.asm.store(RDI, RSI);
            self.asm.call(0, &[Is(free), Is(BUFFER), Is(2)]);
            self.known_or_lost("an open file of the image", over);
            self.asm.expect(RAX, 2, "guest: two bytes are there");
            let at = 2 * place as usize;
            let two = u64::from(u16::from_le_bytes([IMAGE[at], IMAGE[at + 1]]));
            self.asm.set(RSI, BUFFER);
            self.asm.load(RDX, RSI);
            self.asm.expect(RDX, two, "guest: the next two bytes");
            if self.random.below(2) == 0 {
                let ns = self.random.between(1_000, 60_000_000);
                self.sleep(ns);
            }
        }
        self.asm.place(over);
        self.asm.call(3, &[Is(free)]);
        self.asm.expect(RAX, 0, "guest: close of the image");
    }

    /// Goes to a label if what is in RAX says that home has lost it.
    fn known_or_lost(&mut self, reason: &str, over: Label) {
        let there = self.asm.label();
        let lost = self.asm.label();
        self.asm.set(R9, EIO);
        self.asm.jump_equal(RAX, R9, lost);
        self.asm.jump(there);
        self.asm.place(lost);
        self.asm.unsure(reason);
        self.asm.jump(over);
        self.asm.place(there);
    }

    /// A record on the console of which nobody may know whether it is there.
    pub(super) fn say_once(&mut self, record: &str, text: &str) {
        let at = self.asm.bytes(text.as_bytes());
        let length = text.len() as u64;
        self.asm.call(1, &[Is(1), Is(at), Is(length)]);
        let over = self.asm.label();
        self.known_or_lost(&format!("once: {record}"), over);
        self.asm
            .expect(RAX, length, "guest: the console takes the whole line");
        self.asm.place(over);
    }

    /// A child that is a guest, too.
    fn guest_child(&mut self, role: &mut Role, known: &Known) {
        let status = self.random.below(120);
        let steps = self.random.between(2, 8);
        self.child_of_guest(role, status, |author, other| {
            for copy in 0..known.copies {
                author.asm.call(3, &[Is(FREE + copy)]);
                author
                    .asm
                    .expect(RAX, 0, "guest: close of an inherited copy");
            }
            author.guest_life(other, steps, status, known.umask);
        });
    }

    /// A child that ends with this status, unless a fault takes it; its parent waits for it.
    fn child_of_guest(
        &mut self,
        role: &mut Role,
        status: u64,
        write: impl FnOnce(&mut Self, &mut Role),
    ) {
        let (child, over) = (self.asm.label(), self.asm.label());
        self.asm.call(57, &[]);
        self.asm.set(R9, 0);
        self.asm.jump_equal(RAX, R9, child);
        self.known_or_lost("once: fork", over);
        self.asm.two(op::MOV, RBX, RAX);
        let bad = self.asm.label();
        self.asm.jump_negative(RAX, bad);
        role.children += 1;
        let mut other = role.child();
        self.aside(child, |author| write(author, &mut other));
        self.asm.call(61, &[In(RBX), Is(STATUS), Is(0), Is(0)]);
        let (found, lost) = (self.asm.label(), self.asm.label());
        self.asm.jump_equal(RAX, RBX, found);
        self.asm.set(R9, ECHILD);
        self.asm.jump_equal(RAX, R9, lost);
        self.asm.place(bad);
        self.asm.fail(RAX, "guest: fork, or wait4 gives the child");
        self.asm.place(lost);
        self.asm.unsure("a child");
        self.asm.jump(over);
        self.asm.place(found);
        self.ended(status << 8, "guest: the child's status");
        self.asm.place(over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Summary;
    use crate::storm::work_to_the_end;
    use crate::world::{MS, World};

    const ENOMEM: u64 = -12_i64 as u64;

    /// The world of a worker with one child.
    fn world(
        forgiven: bool,
        child: impl FnOnce(&mut Author<'_>, &mut Role),
    ) -> Result<Summary, String> {
        world_of(forgiven, |author| {
            let mut role = Role::new("w0");
            author.child_of_guest(&mut role, 0, child);
            author.tell(&mut role, "end");
            author.asm.call(231, &[Is(0)]);
        })
    }

    /// The world of one worker.
    fn world_of(forgiven: bool, worker: impl FnOnce(&mut Author<'_>)) -> Result<Summary, String> {
        let work = Work {
            nodes: 1,
            workers: 1,
            steps: 0,
            movers: 0,
            moves: 0,
            deaths: Deaths::Some,
            disks: true,
        };
        let mut random = Random(1);
        let programs = write_with(work, &mut random, |author| {
            let begin = author.asm.label();
            author.parent(begin);
            author.asm.place(begin);
            worker(author);
        });
        let mut tell = |_: &_| {};
        let mut world = World::new(random, (work, programs), None, &mut tell);
        if forgiven {
            world.is_short_of_memory();
        }
        let result = work_to_the_end(&mut world, work, 1000 * MS).map(|()| world.summary);
        assert!(result.is_err() || world.checker.said == ["well"]);
        world.switch_off();
        result
    }

    #[track_caller]
    fn fails_with(reason: &str, result: Result<Summary, String>) {
        let failure = result.expect_err("something was wrong");
        assert!(failure.contains(reason), "{failure}");
    }

    /// As a fork does that finds no frame (seeds 5751 and 6154 of that day's worlds).
    fn is_told(author: &mut Author<'_>) {
        author.asm.set(RAX, ENOMEM);
        author.asm.fail(RAX, "guest: fork");
    }

    #[test]
    fn the_parent_of_one_who_is_excused_is_excused_too() {
        world(true, |author, _| is_told(author)).expect("there was no memory");
    }

    #[test]
    fn nobody_is_excused_where_there_is_memory() {
        fails_with("guest: fork", world(false, |author, _| is_told(author)));
    }

    #[test]
    fn what_one_of_the_same_name_has_left_when_it_was_lost_is_gone() {
        // Seed 11454 of that day's worlds.
        let worker = |author: &mut Author<'_>| {
            let path = author.asm.path("/log-w0");
            let make = [Is(AT_FDCWD), Is(path), Is(0o102), Is(0o644)];
            author.asm.call(257, &make);
            author.asm.two(op::MOV, R14, RAX);
            author.asm.call(1, &[In(R14), Is(path), Is(8)]);
            author.close(R14);
            author.life(&mut Role::new("w0"), 3, 0);
        };
        world_of(false, worker).expect("it begins anew");
    }

    #[test]
    fn another_status_is_a_mistake_even_then() {
        let child = |author: &mut Author<'_>, _: &mut Role| author.asm.call(231, &[Is(3)]);
        fails_with("guest: the child's status: 0x300", world(true, child));
    }
}
