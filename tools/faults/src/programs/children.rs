//! Children: waited for, killed, stopped, begun anew, and at the other end of a pipe.
//!
//! Law: a parent knows how each child ends and what it says; only the death of a node excuses anything else.

use super::*;
use crate::assembler::Value::{In, Is};
use crate::assembler::*;
use crate::processor::{EXCUSED, op};

impl Author<'_> {
    /// Forks; the parent's code goes on with the child's pid in RBX and the child's at the label.
    pub(super) fn fork(&mut self) -> Label {
        let child = self.asm.label();
        self.asm.call(57, &[]);
        self.asm.set(R9, 0);
        self.asm.jump_equal(RAX, R9, child);
        self.no_error("fork");
        self.asm.two(op::MOV, RBX, RAX);
        child
    }

    /// Waits for the child in RBX, which ends with this status, or by the death of a node.
    pub(super) fn wait(&mut self, options: u64, status: u64) {
        self.asm
            .call(61, &[In(RBX), Is(STATUS), Is(options), Is(0)]);
        let same = self.asm.label();
        self.asm.jump_equal(RAX, RBX, same);
        self.asm.fail(RAX, "wait4 gives the child");
        self.asm.place(same);
        self.ended(status, &format!("the child's status is {status:#x}"));
    }

    /// The status that a wait has given is this one, or that of a child with whom something went wrong that excuses it. It stays in RDX.
    pub(super) fn ended(&mut self, status: u64, reason: &str) {
        self.asm.set(RSI, STATUS);
        self.asm.load_word(RDX, RSI, 0);
        let good = self.asm.label();
        self.asm.set(R9, status);
        self.asm.jump_equal(RDX, R9, good);
        if self.work.deaths == Deaths::Some {
            // Of a death, of a call without memory, of a signal whose frame found none, and of a mapped file that is lost.
            let mapped = self.work.disks.then_some(7);
            for excuse in [9, EXCUSED << 8, 11].into_iter().chain(mapped) {
                self.asm.set(R9, excuse);
                self.asm.jump_equal(RDX, R9, good);
            }
        }
        self.asm.fail(RDX, reason);
        self.asm.place(good);
    }

    /// Writes the code of a child behind the code of its parent.
    pub(super) fn aside(&mut self, child: Label, write: impl FnOnce(&mut Self)) {
        let behind = self.asm.label();
        self.asm.jump(behind);
        self.asm.place(child);
        write(self);
        self.asm.place(behind);
    }

    pub(super) fn child(&mut self, role: &mut Role) {
        let status = self.random.below(120);
        let steps = self.random.between(1, 6);
        let child = self.fork();
        role.children += 1;
        let mut other = role.child();
        self.aside(child, |author| {
            author.close(R14);
            author.life(&mut other, steps, status);
        });
        if self.random.below(2) == 0 {
            self.tell(role, "");
            self.touch(role);
        }
        self.wait(0, status << 8);
    }

    /// A child fills a pipe with numbers; the parent finds each once and in order.
    pub(super) fn pipe_from_child(&mut self, role: &Role) {
        let _ = role;
        let count = match self.random.below(3) {
            0 => self.random.between(1, 100),
            1 => self.random.between(100, 4000),
            _ => self.random.between(9000, 24_000),
        };
        let piece = 8 * self.random.between(1, count.min(12_000));
        self.pipe();
        let child = self.fork();
        self.aside(child, |author| {
            author.close(R12);
            author.number_the_buffer(count);
            author.asm.set(RBP, BUFFER);
            author.asm.set(R12, BUFFER + 8 * count);
            author.asm.set(R15, 0);
            let (again, over, fits) = (author.asm.here(), author.asm.label(), author.asm.label());
            author.asm.jump_equal(RBP, R12, over);
            author.asm.two(op::MOV, RBX, R12);
            author.asm.two(op::SUB, RBX, RBP);
            author.asm.set(R9, piece);
            author.asm.jump_less(RBX, R9, fits);
            author.asm.two(op::MOV, RBX, R9);
            author.asm.place(fits);
            author.asm.call(1, &[In(R13), In(RBP), In(RBX)]);
            author.no_error("the child writes to the pipe");
            author.asm.two(op::ADD, RBP, RAX);
            author.asm.jump(again);
            author.asm.place(over);
            author.asm.call(231, &[Is(3)]);
        });
        self.close(R13);
        self.read_numbers(count);
        self.close(R12);
        self.wait(0, 3 << 8);
    }

    pub(super) fn number_the_buffer(&mut self, count: u64) {
        self.asm.set(RSI, BUFFER);
        self.asm.set(RDI, BUFFER + 8 * count);
        self.asm.set(RDX, 0);
        let (again, over) = (self.asm.here(), self.asm.label());
        self.asm.jump_equal(RSI, RDI, over);
        self.asm.store(RDX, RSI);
        self.asm.add(RSI, 8);
        self.asm.add(RDX, 7);
        self.asm.jump(again);
        self.asm.place(over);
    }

    fn read_numbers(&mut self, count: u64) {
        self.asm.set(RBP, BUFFER);
        let (more, ended) = (self.asm.here(), self.asm.label());
        self.asm.call(0, &[In(R12), In(RBP), Is(0x1_0000)]);
        self.no_error("a read from the child's pipe");
        self.asm.two(op::ADD, RBP, RAX);
        self.asm.set(R9, 0);
        self.asm.jump_equal(RAX, R9, ended);
        self.asm.jump(more);
        self.asm.place(ended);
        if self.work.deaths == Deaths::None {
            self.asm
                .expect(RBP, BUFFER + 8 * count, "all of the child's numbers");
        } else {
            // Whole numbers are checked; the last may be cut where the child was lost.
            self.asm.set(R9, 8);
            self.asm.two(op::MOV, RDX, RBP);
            self.asm.two(op::MOD, RDX, R9);
            self.asm.two(op::SUB, RBP, RDX);
        }
        self.asm.set(RSI, BUFFER);
        self.asm.set(R8, 0);
        let (again, over, same) = (self.asm.here(), self.asm.label(), self.asm.label());
        self.asm.jump_equal(RSI, RBP, over);
        self.asm.load(RDX, RSI);
        self.asm.jump_equal(RDX, R8, same);
        self.asm.fail(RDX, "the child's numbers in order");
        self.asm.place(same);
        self.asm.add(RSI, 8);
        self.asm.add(R8, 7);
        self.asm.jump(again);
        self.asm.place(over);
    }

    /// A child that waits for its parent does not outlive it: the parent may be lost with a node.
    pub(super) fn end_with_parent(&mut self) {
        self.asm.call(157, &[Is(1), Is(9)]);
        self.asm.expect(RAX, 0, "prctl(PR_SET_PDEATHSIG)");
        self.asm.call(110, &[]);
        self.asm.set(R9, 1);
        let (orphan, child) = (self.asm.label(), self.asm.label());
        self.asm.jump_equal(RAX, R9, orphan);
        self.asm.jump(child);
        self.asm.place(orphan);
        self.asm.call(231, &[Is(0)]);
        self.asm.place(child);
    }

    /// A child that never ends by itself.
    pub(super) fn killed_child(&mut self) {
        let how = self.random.below(3);
        if how == 2 {
            self.pipe();
        }
        let child = self.fork();
        self.aside(child, |author| {
            author.end_with_parent();
            let forever = author.asm.here();
            match how {
                0 => {}
                1 => author.sleep(50_000_000_000),
                _ => author.asm.call(0, &[In(R12), Is(BUFFER), Is(8)]),
            }
            author.asm.jump(forever);
        });
        let ns = self.random.between(1_000, 80_000_000);
        self.sleep(ns);
        self.asm.call(62, &[In(RBX), Is(9)]);
        self.asm.expect(RAX, 0, "kill(child, SIGKILL)");
        self.wait(0, 9);
        if how == 2 {
            self.close(R12);
            self.close(R13);
        }
    }

    /// A child that is stopped in the middle of a read, goes on, and ends when it has read.
    pub(super) fn stopped_child(&mut self) {
        self.pipe();
        let child = self.fork();
        self.aside(child, |author| {
            author.end_with_parent();
            author.asm.call(0, &[In(R12), Is(BUFFER), Is(8)]);
            author.asm.expect(RAX, 8, "a read that was stopped");
            author.asm.call(231, &[Is(5)]);
        });
        self.asm.call(62, &[In(RBX), Is(19)]);
        self.asm.expect(RAX, 0, "kill(child, SIGSTOP)");
        self.wait(2, 19 << 8 | 0x7f);
        let over = self.asm.label();
        if self.work.deaths == Deaths::Some {
            self.asm.set(R9, 9);
            self.asm.jump_equal(RDX, R9, over);
        }
        let ns = self.random.between(1_000, 80_000_000);
        self.sleep(ns);
        self.asm.call(62, &[In(RBX), Is(18)]);
        self.asm.expect(RAX, 0, "kill(child, SIGCONT)");
        self.asm.call(1, &[In(R13), Is(BUFFER), Is(8)]);
        self.asm.expect(RAX, 8, "a write to a child that goes on");
        self.wait(0, 5 << 8);
        self.asm.place(over);
        self.close(R12);
        self.close(R13);
    }

    fn execute_other(&mut self) {
        let path = self.asm.path("/other");
        let arguments = self.asm.longs(&[path, 0]);
        self.asm.call(59, &[Is(path), Is(arguments), Is(0)]);
        self.asm.fail(RAX, "execve came back");
    }

    pub(super) fn other_program(&mut self) {
        let child = self.fork();
        self.aside(child, Self::execute_other);
        self.wait(0, 77 << 8);
    }

    /// A vfork child, which has its parent's memory until it ends or begins another program.
    pub(super) fn borrowing_child(&mut self) {
        let child = self.asm.label();
        let executes = self.random.below(2) == 0;
        let ns = self.random.between(1_000, 20_000_000);
        self.count_is(0, true);
        self.asm.call(58, &[]);
        self.asm.set(R9, 0);
        self.asm.jump_equal(RAX, R9, child);
        self.no_error("vfork");
        self.asm.two(op::MOV, RBX, RAX);
        self.aside(child, |author| {
            author.sleep(ns);
            author.count_is(41, true);
            if executes {
                author.execute_other();
            }
            author.asm.call(231, &[Is(77)]);
        });
        if self.work.deaths == Deaths::None {
            self.count_is(41, false);
        }
        self.wait(0, 77 << 8);
    }
}
