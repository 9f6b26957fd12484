//! A little processor: runs the byte code of the test programs from user memory.
//!
//! Law: all state of a program is in its registers and its memory, so that whatever a move forgets
//! is missed. It touches memory as the page table allows, and faults like the real one.

use machine::{Access, Exit, FrameKind, PAGE_SIZE, Registers, TableHandle};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// One operation; every instruction is this byte and its operands.
pub(super) mod op {
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
    pub(crate) const SYSCALL: u8 = 0x0f;
    pub(crate) const NOTHING: u8 = 0x90;
}

/// No instruction is longer, and none crosses a page.
pub(super) const LONGEST: usize = 16;

/// What the world and the processor of one node tell each other.
#[derive(Default)]
pub(super) struct Panel {
    /// How many instructions the next run may take.
    pub(super) budget: Cell<u64>,
    /// How many the last run took.
    pub(super) used: Cell<u64>,
    /// The reason and the value of a check of a program that went wrong.
    pub(super) failure: RefCell<Option<(u32, u64)>>,
}

/// Makes the fake machine run byte code.
pub(super) fn plug_in(panel: &Rc<Panel>) {
    let panel = panel.clone();
    machine::fake::set_user(move |registers, table| {
        let mut cpu = Cpu { registers, table };
        panel.used.set(0);
        while panel.used.get() < panel.budget.get() {
            panel.used.set(panel.used.get() + 1);
            if let Err(exit) = cpu.step(&panel) {
                return exit;
            }
        }
        Exit::Interrupt
    });
}

struct Cpu<'a> {
    registers: &'a mut Registers,
    table: &'a TableHandle,
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

    /// The frame behind an address, if this access is allowed.
    fn frame(&self, address: u64, access: Access) -> Result<(machine::Frame, usize), Exit> {
        let page = address / PAGE_SIZE as u64 * PAGE_SIZE as u64;
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
        Ok((mapping.frame, (address - page) as usize))
    }

    fn load<const N: usize>(&self, address: u64, access: Access) -> Result<[u8; N], Exit> {
        let (frame, offset) = self.frame(address, access)?;
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
        let (frame, offset) = self.frame(at, Access::EXECUTE)?;
        let mut code = [0; LONGEST];
        let length = LONGEST.min(PAGE_SIZE - offset);
        frame.read(offset, &mut code[..length]);
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
                *self.register(a) = u64::from_le_bytes(self.load(address, Access::READ)?);
                next += 7;
            }
            op::LOAD_WORD => {
                let address = self.register(b).wrapping_add(word(3));
                let bytes = self.load::<4>(address, Access::READ)?;
                *self.register(a) = u64::from(u32::from_le_bytes(bytes));
                next += 7;
            }
            op::STORE => {
                let address = self.register(b).wrapping_add(word(3));
                let value = *self.register(a);
                let (frame, offset) = self.frame(address, Access::WRITE)?;
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
                next = u64::from_le_bytes(self.load(stack, Access::READ)?);
                self.registers.rsp = stack + 8;
            }
            op::SYSCALL => {
                next += 2;
                self.registers.rcx = next;
                self.registers.r11 = self.registers.rflags;
                self.registers.rip = next;
                return Err(Exit::Syscall);
            }
            op::FAIL => {
                let value = *self.register(a);
                *panel.failure.borrow_mut() = Some((word(3) as u32, value));
                return Err(invalid(at));
            }
            _ => return Err(invalid(at)),
        }
        self.registers.rip = next;
        Ok(())
    }
}

fn invalid(address: u64) -> Exit {
    Exit::Exception {
        vector: 6,
        code: 0,
        address,
    }
}
