//! A little processor: runs the byte code of the test programs from user memory.
//!
//! Law: all state of a program is in its registers and its memory, so that whatever a move forgets
//! is missed. It touches memory as the page table allows, and faults like the real one.

use machine::{Access, Exit, Frame, FrameKind, PAGE_SIZE, Registers, TableHandle};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

/// One operation; every instruction is this byte and its operands.
pub(crate) mod op {
    pub(crate) const SET: u8 = 1;
    pub(crate) const MOV: u8 = 2;
    pub(crate) const ADD: u8 = 3;
    pub(crate) const SUB: u8 = 4;
    pub(crate) const MUL: u8 = 5;
    pub(crate) const MOD: u8 = 6;
    pub(crate) const ADD_IMMEDIATE: u8 = 7;
    pub(crate) const SHIFT_RIGHT: u8 = 8;
    pub(crate) const LOAD: u8 = 9;
    pub(crate) const STORE: u8 = 10;
    pub(crate) const LOAD_WORD: u8 = 11;
    pub(crate) const JUMP: u8 = 12;
    pub(crate) const JUMP_EQUAL: u8 = 13;
    pub(crate) const JUMP_LESS: u8 = 14;
    pub(crate) const JUMP_NEGATIVE: u8 = 18;
    pub(crate) const RETURN: u8 = 16;
    pub(crate) const FAIL: u8 = 17;
    pub(crate) const UNSURE: u8 = 19;
    pub(crate) const SYSCALL: u8 = 0x0f;
    pub(crate) const NOTHING: u8 = 0x90;
}

/// What a call says that finds no frame: ENOMEM, EFAULT of a buffer, ENOSPC.
const NO_MEMORY: [u64; 3] = [-12_i64 as u64, -14_i64 as u64, -28_i64 as u64];
/// What a call says whose home has lost its memory: ENOENT, ESRCH, EIO, ECHILD.
const LOST: [u64; 4] = [-2_i64 as u64, -3_i64 as u64, -5_i64 as u64, -10_i64 as u64];
/// No program transfers so many bytes at once.
const TRANSFER_MAX: u64 = 1 << 20;
const EXIT_GROUP: u64 = 231;
/// With which status a program ends that was told so.
pub(crate) const EXCUSED: u64 = 0xee;

/// No instruction is longer, and none crosses a page.
pub(crate) const LONGEST: usize = 16;

/// What the world and the processor of one node tell each other.
#[derive(Default)]
pub(crate) struct Panel {
    /// How many instructions the next run may take.
    pub(crate) budget: Cell<u64>,
    /// How many the last run took.
    pub(crate) used: Cell<u64>,
    /// The reason and the value of a check of a program that went wrong.
    pub(crate) failure: RefCell<Option<(u32, u64)>>,
    /// Where the last run ended.
    pub(crate) rip: Cell<u64>,
    /// Some frame was not to be had: a program that was told so may end.
    pub(crate) forgives: Cell<bool>,
    /// Checks of transfers: one that was cut short is an answer, too, where there is no memory.
    pub(crate) transfers: RefCell<BTreeSet<u32>>,
    /// The last run has ended so: the reason and the value of the check.
    pub(crate) excused: Cell<Option<(u32, u64)>>,
    /// The home of whoever runs.
    pub(crate) home: Cell<u16>,
    /// Homes that have booted again and have guests from before.
    pub(crate) rebooted: RefCell<BTreeSet<u16>>,
    /// Checks of programs that are prepared for that.
    pub(crate) prepared: RefCell<BTreeSet<u32>>,
    /// What the last run was told that nobody knows, or what is lost, by the number of the reason.
    pub(crate) unsure: RefCell<Vec<u32>>,
}

/// Makes the fake machine run byte code.
pub(crate) fn plug_in(panel: &Rc<Panel>) {
    let panel = panel.clone();
    machine::fake::set_user(move |registers, table| {
        let mut cpu = Cpu {
            registers,
            table,
            code: None,
            data: [None, None],
        };
        panel.used.set(0);
        panel.excused.set(None);
        while panel.used.get() < panel.budget.get() {
            panel.used.set(panel.used.get() + 1);
            if let Err(exit) = cpu.step(&panel) {
                panel.rip.set(cpu.registers.rip);
                return exit;
            }
        }
        panel.rip.set(cpu.registers.rip);
        Exit::Interrupt
    });
}

/// One stay in user mode. The kernel does not run meanwhile, so no translation changes: each is looked up
/// once, as by a TLB that is flushed at the entry.
struct Cpu<'a> {
    registers: &'a mut Registers,
    table: &'a TableHandle,
    /// The page that is executed, and its bytes: no program writes to its code.
    code: Option<(u64, [u8; PAGE_SIZE])>,
    /// The pages last read and last written.
    data: [Option<(u64, Frame)>; 2],
}

impl Cpu<'_> {
    fn register(&mut self, number: u8) -> &mut u64 {
        let r = &mut *self.registers;
        match number & 15 {
            0 => &mut r.rax,
            1 => &mut r.rbx,
            2 => &mut r.rcx,
            3 => &mut r.rdx,
            4 => &mut r.rsi,
            5 => &mut r.rdi,
            6 => &mut r.rbp,
            7 => &mut r.rsp,
            8 => &mut r.r8,
            9 => &mut r.r9,
            10 => &mut r.r10,
            11 => &mut r.r11,
            12 => &mut r.r12,
            13 => &mut r.r13,
            14 => &mut r.r14,
            _ => &mut r.r15,
        }
    }

    /// The frame of a page, if this access to the address is allowed.
    fn frame(&self, address: u64, access: Access) -> Result<Frame, Exit> {
        let page = page_of(address);
        let fault = |protection| Exit::PageFault {
            address,
            write: access == Access::WRITE,
            execute: access == Access::EXECUTE,
            protection,
        };
        if address >= machine::USER_END {
            return Err(fault(false));
        }
        let mapping = self.table.get(page).ok_or(fault(false))?;
        if !mapping.access.contains(access) {
            return Err(fault(true));
        }
        assert!(
            !mapping.access.contains(Access::WRITE) || mapping.frame.kind() == FrameKind::User,
            "only a frame of user memory is writable"
        );
        machine::fake::touch(self.table, page, access);
        Ok(mapping.frame)
    }

    /// Makes the code at an address the page that is executed.
    fn fetch(&mut self, address: u64) -> Result<&[u8; PAGE_SIZE], Exit> {
        let page = page_of(address);
        if self.code.as_ref().is_none_or(|(known, _)| *known != page) {
            let frame = self.frame(address, Access::EXECUTE)?;
            let mut bytes = [0; PAGE_SIZE];
            frame.read(0, &mut bytes);
            self.code = Some((page, bytes));
        }
        Ok(&self.code.as_ref().expect("just fetched").1)
    }

    /// The frame of a page of data and the place in it.
    fn data(&mut self, address: u64, access: Access) -> Result<(&Frame, usize), Exit> {
        let page = page_of(address);
        let which = usize::from(access == Access::WRITE);
        let known = self.data[which].as_ref();
        if known.is_none_or(|(known, _)| *known != page) {
            self.data[which] = Some((page, self.frame(address, access)?));
        }
        let (_, frame) = self.data[which].as_ref().expect("just looked up");
        Ok((frame, (address - page) as usize))
    }

    fn load<const N: usize>(&mut self, address: u64) -> Result<[u8; N], Exit> {
        let (frame, offset) = self.data(address, Access::READ)?;
        if offset + N > PAGE_SIZE {
            return Err(Exit::Exception {
                vector: 17,
                code: 0,
                address,
            });
        }
        let mut bytes = [0; N];
        frame.read(offset, &mut bytes);
        Ok(bytes)
    }

    fn step(&mut self, panel: &Panel) -> Result<(), Exit> {
        let at = self.registers.rip;
        let offset = (at - page_of(at)) as usize;
        let mut code = [0; LONGEST];
        let length = LONGEST.min(PAGE_SIZE - offset);
        code[..length].copy_from_slice(&self.fetch(at)?[offset..offset + length]);
        let (a, b) = (code[1], code[2]);
        let word = |from: usize| {
            u64::from(u32::from_le_bytes(
                code[from..from + 4].try_into().expect("4 bytes"),
            ))
        };
        let long = || u64::from_le_bytes(code[2..10].try_into().expect("8 bytes"));
        let mut next = at;
        match code[0] {
            op::NOTHING => next += 1,
            op::SET => {
                *self.register(a) = long();
                next += 10;
            }
            op::ADD_IMMEDIATE => {
                let sum = self.register(a).wrapping_add(long());
                *self.register(a) = sum;
                next += 10;
            }
            op::MOV | op::ADD | op::SUB | op::MUL | op::MOD => {
                let (left, right) = (*self.register(a), *self.register(b));
                *self.register(a) = match code[0] {
                    op::MOV => right,
                    op::ADD => left.wrapping_add(right),
                    op::SUB => left.wrapping_sub(right),
                    op::MUL => left.wrapping_mul(right),
                    _ => left % right.max(1),
                };
                next += 3;
            }
            op::SHIFT_RIGHT => {
                *self.register(a) >>= b & 63;
                next += 3;
            }
            op::LOAD => {
                let address = self.register(b).wrapping_add(word(3));
                *self.register(a) = u64::from_le_bytes(self.load(address)?);
                next += 7;
            }
            op::LOAD_WORD => {
                let address = self.register(b).wrapping_add(word(3));
                let bytes = self.load::<4>(address)?;
                *self.register(a) = u64::from(u32::from_le_bytes(bytes));
                next += 7;
            }
            op::STORE => {
                let address = self.register(b).wrapping_add(word(3));
                let value = *self.register(a);
                let (frame, offset) = self.data(address, Access::WRITE)?;
                frame.write(offset, &value.to_le_bytes());
                next += 7;
            }
            op::JUMP => next = word(3),
            op::JUMP_EQUAL | op::JUMP_LESS | op::JUMP_NEGATIVE => {
                let (left, right) = (*self.register(a), *self.register(b));
                let taken = match code[0] {
                    op::JUMP_EQUAL => left == right,
                    op::JUMP_LESS => left < right,
                    _ => (left as i64) < 0,
                };
                next = if taken { word(3) } else { at + 7 };
            }
            op::RETURN => {
                let stack = self.registers.rsp;
                next = u64::from_le_bytes(self.load(stack)?);
                self.registers.rsp = stack + 8;
            }
            op::SYSCALL => {
                next += 2;
                self.registers.rcx = next;
                self.registers.r11 = self.registers.rflags;
                self.registers.rip = next;
                return Err(Exit::Syscall);
            }
            op::UNSURE => {
                panel.unsure.borrow_mut().push(word(3) as u32);
                next += 7;
            }
            op::FAIL => {
                let value = *self.register(a);
                let reason = word(3) as u32;
                let short = value < TRANSFER_MAX && panel.transfers.borrow().contains(&reason);
                let no_memory = panel.forgives.get() && (short || NO_MEMORY.contains(&value));
                let lost = panel.rebooted.borrow().contains(&panel.home.get())
                    && LOST.contains(&value)
                    && !panel.prepared.borrow().contains(&reason);
                if no_memory || lost {
                    panel.excused.set(Some((reason, value)));
                    self.registers.rax = EXIT_GROUP;
                    self.registers.rdi = EXCUSED;
                    self.registers.rip = at + 7;
                    return Err(Exit::Syscall);
                }
                *panel.failure.borrow_mut() = Some((reason, value));
                return Err(invalid(at));
            }
            _ => return Err(invalid(at)),
        }
        self.registers.rip = next;
        Ok(())
    }
}

fn page_of(address: u64) -> u64 {
    address / PAGE_SIZE as u64 * PAGE_SIZE as u64
}

fn invalid(address: u64) -> Exit {
    Exit::Exception {
        vector: 6,
        code: 0,
        address,
    }
}
