//! Files that are written and read in order, while somebody else changes them.
//!
//! Law: a program knows every number that is in its file; what was changed before it heard of the change is what it reads.

use super::*;
use crate::assembler::Value::{In, Is};
use crate::assembler::*;
use crate::processor::op;

impl Author<'_> {
    /// Makes a file of numbers, piece by piece, and begins it anew; it is in RBP.
    fn file_of_numbers(&mut self, role: &Role, count: u64) -> u64 {
        let path = self.asm.path(&format!("/file-{}", role.name));
        self.asm
            .call(257, &[Is(AT_FDCWD), Is(path), Is(0o1102), Is(0o600)]);
        self.no_error("a file is made");
        self.asm.two(op::MOV, RBP, RAX);
        self.number_the_buffer(count);
        let mut done = 0;
        while done < 8 * count {
            let piece = self.random.between(1, 12_000).min(8 * count - done);
            self.asm.call(1, &[In(RBP), Is(BUFFER + done), Is(piece)]);
            self.asm.expect(RAX, piece, "a piece is written");
            done += piece;
            self.pause();
        }
        self.asm.call(8, &[In(RBP), Is(0), Is(0)]);
        self.asm.expect(RAX, 0, "lseek to the beginning");
        self.wipe(8 * count);
        path
    }

    /// Now and then time for a move, in the middle of a file.
    fn pause(&mut self) {
        if self.random.below(4) == 0 {
            let ns = self.random.between(1_000, 30_000_000);
            self.sleep(ns);
        }
    }

    /// Reads the file in RBP on, from one place to the other; `placed` by offsets.
    fn read_on(&mut self, from: u64, to: u64, placed: bool) {
        let number = if placed { 17 } else { 0 };
        let mut done = from;
        while done < to {
            let piece = self.random.between(1, 9_000).min(to - done);
            let args = [In(RBP), Is(BUFFER + done), Is(piece), Is(done)];
            self.asm.call(number, &args);
            self.asm.expect(RAX, piece, "a piece is read");
            done += piece;
            self.pause();
        }
    }

    /// The buffer holds the numbers, but for some.
    fn check_numbers(&mut self, count: u64, but: &BTreeMap<u64, u64>) {
        for (index, value) in but {
            self.asm.set(RSI, BUFFER + 8 * index);
            self.asm.load(RDX, RSI);
            self.asm.expect(RDX, *value, "a number that was changed");
            self.asm.set(RDX, 7 * index);
            self.asm.store(RDX, RSI);
        }
        self.asm.set(RSI, BUFFER);
        self.asm.set(RDI, BUFFER + 8 * count);
        self.asm.set(R8, 0);
        let (again, over, same) = (self.asm.here(), self.asm.label(), self.asm.label());
        self.asm.jump_equal(RSI, RDI, over);
        self.asm.load(RDX, RSI);
        self.asm.jump_equal(RDX, R8, same);
        self.asm.fail(RDX, "the numbers of a file");
        self.asm.place(same);
        self.asm.add(RSI, 8);
        self.asm.add(R8, 7);
        self.asm.jump(again);
        self.asm.place(over);
    }

    /// Writes new numbers over those at some places behind `from`, through the descriptor in R13.
    fn change_numbers(&mut self, from: u64, count: u64) -> BTreeMap<u64, u64> {
        let mut changed = BTreeMap::new();
        for _ in 0..self.random.between(1, 4) {
            let (index, value) = (self.random.between(from, count - 1), self.random.bits());
            let at = self.asm.longs(&[value]);
            self.asm.call(18, &[In(R13), Is(at), Is(8), Is(8 * index)]);
            self.asm.expect(RAX, 8, "a number is changed");
            changed.insert(index, value);
        }
        changed
    }

    /// Written and read in order; what is changed behind the reader's place is seen by it.
    pub(super) fn own_file(&mut self, role: &Role) {
        let count = self.random.between(16, 3_800);
        let path = self.file_of_numbers(role, count);
        self.asm.call(257, &[Is(AT_FDCWD), Is(path), Is(2), Is(0)]);
        self.no_error("the file is opened again");
        self.asm.two(op::MOV, R13, RAX);
        let half = 8 * (count / 2);
        let placed = self.random.below(2) == 0;
        self.read_on(0, half, placed);
        let changed = self.change_numbers(count / 2, count);
        self.read_on(half, 8 * count, placed);
        let (number, end) = if placed { (17, 8 * count) } else { (0, 0) };
        self.asm
            .call(number, &[In(RBP), Is(BUFFER), Is(8), Is(end)]);
        self.asm.expect(RAX, 0, "the end of the file");
        self.check_numbers(count, &changed);
        self.close(RBP);
        self.close(R13);
        self.asm.call(87, &[Is(path)]);
        self.asm.expect(RAX, 0, "the file is unlinked");
    }

    /// Maps the file in RBP, and looks at every page.
    fn map_file(&mut self, count: u64) {
        let length = 8 * count;
        let args = [Is(MAPPED), Is(length), Is(1), Is(0x12), In(RBP), Is(0)];
        self.asm.call(9, &args);
        self.asm.expect(RAX, MAPPED, "mmap");
        for place in (0..length).step_by(4096) {
            self.asm.set(RSI, MAPPED + place);
            self.asm.load(RDX, RSI);
            self.asm
                .expect(RDX, 7 * (place / 8), "a number that is mapped");
        }
    }

    /// What is mapped shows what was changed.
    fn check_mapped(&mut self, changed: &BTreeMap<u64, u64>) {
        for (index, value) in changed {
            self.asm.set(RSI, MAPPED + 8 * index);
            self.asm.load(RDX, RSI);
            self.asm
                .expect(RDX, *value, "a number that was changed is mapped");
        }
    }

    /// A child changes what its parent is about to read, and says so.
    pub(super) fn file_of_two(&mut self, role: &Role) {
        let count = self.random.between(600, 3_800);
        let path = self.file_of_numbers(role, count);
        let quarter = 8 * (count / 4);
        let placed = self.random.below(2) == 0;
        self.read_on(0, quarter, placed);
        let mapped = self.random.below(2) == 0;
        if mapped {
            self.map_file(count);
        }
        self.pipe();
        let child = self.fork();
        let ns = self.random.between(1_000, 30_000_000);
        let mut changed = BTreeMap::new();
        self.aside(child, |author| {
            // Its parent's place in the file is its parent's alone from here on.
            author.close(RBP);
            author.asm.two(op::MOV, RBP, R13);
            author
                .asm
                .call(257, &[Is(AT_FDCWD), Is(path), Is(2), Is(0)]);
            author.no_error("the child opens the file");
            author.asm.two(op::MOV, R13, RAX);
            author.sleep(ns);
            changed = author.change_numbers(count / 2, count);
            author.asm.call(1, &[In(RBP), Is(BUFFER), Is(8)]);
            author.asm.call(231, &[Is(4)]);
        });
        self.close(R13);
        let pause = self.random.between(1_000, 20_000_000);
        self.sleep(pause);
        self.read_on(quarter, 2 * quarter, placed);
        let over = self.asm.label();
        self.asm.call(0, &[In(R12), Is(BUFFER + 8 * count), Is(8)]);
        if self.work.deaths == Deaths::Some {
            self.asm.set(R9, 0);
            self.asm.jump_equal(RAX, R9, over);
        }
        self.asm.expect(RAX, 8, "the child's word");
        if mapped {
            self.check_mapped(&changed);
        }
        self.read_on(2 * quarter, 8 * count, placed);
        self.check_numbers(count, &changed);
        self.asm.place(over);
        if mapped {
            self.asm.call(11, &[Is(MAPPED), Is(8 * count)]);
            self.asm.expect(RAX, 0, "munmap");
        }
        self.close(R12);
        self.close(RBP);
        self.wait(0, 4 << 8);
        self.asm.call(87, &[Is(path)]);
        self.asm.expect(RAX, 0, "the file is unlinked");
    }
}
