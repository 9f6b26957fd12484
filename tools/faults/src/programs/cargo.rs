//! What is carried in a cell of the fault matrix: one process that counts until it is told to stop.
//!
//! Law: every number is on the console, in a file and in memory, and is checked against what was there;
//! one signal ends it, and its handler must have run once. Its parent says how it ended.

use super::*;

/// No cell lasts longer.
const ROUNDS: u64 = 1000;
/// A record of the console, padded.
const RECORD: u64 = 16;
const PAUSE_NS: u64 = 40_000_000;
const NUMBER: u64 = ZEROED + 128;

/// The programs of a cell.
pub(crate) fn write_cargo(work: Work, random: &mut Random) -> Programs {
    write_with(work, random, |author| {
        let begin = author.asm.label();
        author.parent(begin);
        author.asm.place(begin);
        author.cargo();
    })
}

impl Author<'_> {
    /// Init: starts one process, and says how it has ended.
    pub(super) fn parent(&mut self, begin: Label) {
        self.asm.set(RSI, STATUS);
        self.asm.store(RSI, RSI);
        self.asm.set(RSI, BUFFER);
        self.asm.store(RSI, RSI);
        let again = self.asm.here();
        self.say("ready\n");
        self.asm.call(0, &[Is(0), Is(BUFFER), Is(64)]);
        self.asm.expect(RAX, 2, "init reads its line");
        self.asm.call(57, &[]);
        self.asm.set(R9, 0);
        self.asm.jump_equal(RAX, R9, begin);
        self.no_error("init forks");
        let wait = self.asm.here();
        self.asm.call(61, &[Is(u64::MAX), Is(STATUS), Is(0), Is(0)]);
        self.asm.set(R9, EINTR);
        self.asm.jump_equal(RAX, R9, wait);
        self.no_error("init waits");
        self.asm.set(RSI, STATUS);
        self.asm.load_word(RDX, RSI, 0);
        let (well, killed, over) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.asm.set(R9, 0);
        self.asm.jump_equal(RDX, R9, well);
        self.asm.set(R9, SIGKILL);
        self.asm.jump_equal(RDX, R9, killed);
        self.say("otherwise\n");
        self.asm.jump(over);
        self.asm.place(well);
        self.say("well\n");
        self.asm.jump(over);
        self.asm.place(killed);
        self.say("killed\n");
        self.asm.place(over);
        self.asm.call(61, &[Is(u64::MAX), Is(STATUS), Is(0), Is(0)]);
        self.asm.expect(RAX, ECHILD, "a child is waited for twice");
        self.say("end\n");
        self.asm.jump(again);
    }

    fn cargo(&mut self) {
        let title = self.asm.path("w0");
        self.asm
            .call(157, &[Is(15), Is(title), Is(0), Is(0), Is(0)]);
        self.asm.expect(RAX, 0, "prctl(PR_SET_NAME)");
        self.handle_signal();
        let path = self.asm.path("/log-w0");
        self.asm
            .call(257, &[Is(AT_FDCWD), Is(path), Is(0o102), Is(0o644)]);
        self.no_error("the log is opened");
        self.asm.two(op::MOV, R14, RAX);
        self.asm.call(39, &[]);
        self.asm.two(op::MOV, R15, RAX);
        for page in 0..PAGE_COUNT {
            self.asm.set(RSI, PAGES + 4096 * page);
            self.asm.set(RDI, page);
            self.asm.store(RDI, RSI);
        }
        self.asm.set(RBX, 0);
        let (again, done) = (self.asm.here(), self.asm.label());
        self.round();
        self.asm.set(RSI, COUNTER);
        self.asm.load(RDI, RSI);
        self.asm.set(R9, 0);
        let on = self.asm.label();
        self.asm.jump_equal(RDI, R9, on);
        self.asm.jump(done);
        self.asm.place(on);
        self.asm.add(RBX, 1);
        self.asm.jump(again);
        self.asm.place(done);
        self.sleep(PAUSE_NS);
        self.count_is(1, false);
        self.check_count();
        self.asm.call(87, &[Is(path)]);
        self.asm.expect(RAX, 0, "the log is unlinked");
        self.asm.add(RBX, 1);
        self.record("end");
        self.asm.call(231, &[Is(0)]);
        self.asm.fail(RAX, "exit came back");
    }

    /// The number in RBX goes everywhere.
    fn round(&mut self) {
        self.asm.two(op::MOV, R12, RBX);
        self.asm.set(R9, PAGE_COUNT);
        self.asm.two(op::MOD, R12, R9);
        self.asm.set(R9, 4096);
        self.asm.two(op::MUL, R12, R9);
        self.asm.add(R12, PAGES);
        self.asm.load(RDI, R12);
        let same = self.asm.label();
        self.asm.jump_equal(RDI, RBX, same);
        self.asm.fail(RDI, "memory is what it was");
        self.asm.place(same);
        self.asm.add(RDI, PAGE_COUNT);
        self.asm.store(RDI, R12);
        self.asm.set(RSI, NUMBER);
        self.asm.store(RBX, RSI);
        self.asm.call(1, &[In(R14), Is(NUMBER), Is(8)]);
        self.asm.expect(RAX, 8, "a number in the log");
        self.record("");
        self.asm.call(39, &[]);
        let same = self.asm.label();
        self.asm.jump_equal(RAX, R15, same);
        self.asm.fail(RAX, "getpid");
        self.asm.place(same);
        // A signal ends it early.
        let span = self.asm.longs(&[0, PAUSE_NS]);
        self.asm.call(35, &[Is(span), Is(0)]);
    }

    /// The number in RBX on the console.
    fn record(&mut self, word: &str) {
        let text: String = (0..ROUNDS)
            .map(|number| format!("{:<14}>\n", format!("<w0 {number} {word}")))
            .collect();
        let at = self.asm.bytes(text.as_bytes());
        self.asm.two(op::MOV, R12, RBX);
        self.asm.set(R9, RECORD);
        self.asm.two(op::MUL, R12, R9);
        self.asm.add(R12, at);
        self.asm.call(1, &[Is(1), In(R12), Is(RECORD)]);
        self.asm.expect(RAX, RECORD, "a record on the console");
    }

    /// The log has every number up to RBX, once and in order.
    fn check_count(&mut self) {
        self.asm.call(8, &[In(R14), Is(0), Is(0)]);
        self.asm.expect(RAX, 0, "lseek in the log");
        self.asm.set(R13, 0);
        let (again, over, same) = (self.asm.here(), self.asm.label(), self.asm.label());
        self.asm.call(0, &[In(R14), Is(BUFFER), Is(8)]);
        self.asm.expect(RAX, 8, "a number is read");
        self.asm.set(RSI, BUFFER);
        self.asm.load(RDI, RSI);
        self.asm.jump_equal(RDI, R13, same);
        self.asm.fail(RDI, "the contents of the log");
        self.asm.place(same);
        self.asm.jump_equal(R13, RBX, over);
        self.asm.add(R13, 1);
        self.asm.jump(again);
        self.asm.place(over);
        self.asm.call(0, &[In(R14), Is(BUFFER), Is(8)]);
        self.asm.expect(RAX, 0, "the length of the log is read");
    }
}
