//! Memory that a process shares with its child, wherever either of them is.
//!
//! Law: they take turns by a number in that memory, and each finds in its turn all that both have written in those before;
//! each also counts all the time, in a page that the other counts in. If the child is lost each page is as it was when the child
//! got it, or later: its parent has counted as far as it has, and the number has not gone back.

use super::*;
use crate::assembler::Value::{In, Is};
use crate::assembler::*;

const SHARED: u64 = 0x5100_0000_0000;
const SHARED_PAGES: u64 = 40;
/// Whose turn it is: how many there have been.
const TURN: u64 = SHARED;
/// What each has counted, in one page.
const COUNTED: u64 = SHARED + 4096;
/// Where both write in their turns.
const WRITTEN: u64 = SHARED + 2 * 4096;
/// A status that nobody ends with.
const NO_STATUS: u64 = 0xffff;

/// Who takes a turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Parent,
    Child,
}

impl Side {
    fn counted(self) -> u64 {
        COUNTED + 8 * (self as u64 + 1)
    }
}

/// What is written in a turn.
type Words = BTreeMap<u64, u64>;

impl Author<'_> {
    pub(super) fn memory_of_two(&mut self) {
        let length = 4096 * SHARED_PAGES;
        let args = [Is(SHARED), Is(length), Is(3), Is(0x31), Is(u64::MAX), Is(0)];
        self.asm.call(9, &args);
        self.asm.expect(RAX, SHARED, "mmap of memory to share");
        // The last turn is the parent's.
        let turns = 2 * self.random.between(1, 6) + 1;
        let words: Vec<Words> = (0..turns).map(|_| self.words()).collect();
        let status = self.random.below(120);
        let child = self.fork();
        self.aside(child, |author| {
            author.close(R14);
            author.end_with_parent();
            author.asm.set(R12, 0);
            for turn in (1..turns).step_by(2) {
                author.wait_for_turn(Side::Child, turn, None);
                author.take_turn(turn, &words, None);
            }
            author.wait_for_turn(Side::Child, turns, None);
            author.asm.call(231, &[Is(status)]);
        });
        let (lost, over) = (self.asm.label(), self.asm.label());
        self.asm.set(R12, 0);
        for turn in (0..turns).step_by(2) {
            self.wait_for_turn(Side::Parent, turn, Some(lost));
            self.take_turn(turn, &words, Some(lost));
        }
        self.wait(0, status << 8);
        self.asm.jump(over);
        self.asm.place(lost);
        self.ended(NO_STATUS, "a child that shares memory has ended");
        self.count_once(Side::Parent);
        self.asm.place(over);
        self.asm.call(11, &[Is(SHARED), Is(length)]);
        self.asm.expect(RAX, 0, "munmap of shared memory");
    }

    /// Words for one turn.
    fn words(&mut self) -> Words {
        let pages = SHARED_PAGES - 2;
        let count = self.random.between(1, 12);
        (0..count)
            .map(|_| {
                let page = WRITTEN + 4096 * self.random.below(pages);
                let place = page + 8 * self.random.below(512);
                (place, self.random.bits())
            })
            .collect()
    }

    /// Counts until it is this side's turn, or the child in RBX has ended. How far it has counted is in R12.
    fn wait_for_turn(&mut self, side: Side, turn: u64, ended: Option<Label>) {
        let (again, comes) = (self.asm.here(), self.asm.label());
        self.count_once(side);
        self.asm.set(RSI, TURN);
        self.asm.load(RDX, RSI);
        self.asm.set(R9, turn);
        self.asm.jump_equal(RDX, R9, comes);
        if turn > 0 {
            let early = self.asm.label();
            self.asm.set(R9, turn - 1);
            self.asm.jump_equal(RDX, R9, early);
            self.asm.fail(RDX, "whose turn it is");
            self.asm.place(early);
        }
        if let Some(ended) = ended {
            self.go_if_ended(ended);
        }
        let ns = self.random.between(100_000, 8_000_000);
        self.sleep(ns);
        self.asm.jump(again);
        self.asm.place(comes);
    }

    /// Goes to a label if the child in RBX has ended.
    fn go_if_ended(&mut self, ended: Label) {
        self.asm.call(61, &[In(RBX), Is(STATUS), Is(1), Is(0)]);
        self.asm.jump_equal(RAX, RBX, ended);
        self.asm.expect(RAX, 0, "the child has not ended");
    }

    fn count_once(&mut self, side: Side) {
        self.asm.set(RSI, side.counted());
        self.asm.load(RDX, RSI);
        let same = self.asm.label();
        self.asm.jump_equal(RDX, R12, same);
        self.asm.fail(RDX, "what was counted in shared memory");
        self.asm.place(same);
        self.asm.add(R12, 1);
        self.asm.store(R12, RSI);
    }

    /// Finds what was written in all turns before, writes its own, and gives the turn on.
    fn take_turn(&mut self, turn: u64, words: &[Words], ended: Option<Label>) {
        let before = words[..turn as usize].iter().flatten();
        let known: Words = before.map(|(place, value)| (*place, *value)).collect();
        for (place, value) in known {
            self.asm.set(RSI, place);
            self.asm.load(RDX, RSI);
            let same = self.asm.label();
            self.asm.set(R9, value);
            self.asm.jump_equal(RDX, R9, same);
            if let Some(ended) = ended {
                self.asm.two(op::MOV, RBP, RDX);
                self.go_if_ended(ended);
                self.asm.two(op::MOV, RDX, RBP);
            }
            self.asm.fail(RDX, "shared memory is what was written");
            self.asm.place(same);
        }
        for (place, value) in &words[turn as usize] {
            self.asm.set(RSI, *place);
            self.asm.set(RDI, *value);
            self.asm.store(RDI, RSI);
        }
        self.asm.set(RSI, TURN);
        self.asm.set(RDI, turn + 1);
        self.asm.store(RDI, RSI);
    }
}
