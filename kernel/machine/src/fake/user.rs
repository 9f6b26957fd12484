//! User mode as a script, and the FPU as a block of bytes.

use std::cell::RefCell;
use std::rc::Rc;

use super::MACHINE;
use crate::{CpuFeatures, Exit, Registers, TableHandle};

/// Bytes of the XSAVE area with x87, SSE and AVX: 512 legacy, 64 header, 256 upper halves.
const FPU_SIZE: usize = 832;
/// x87, SSE, AVX.
const XCR0: u64 = 7;

/// Says what user mode does on this thread: `program` is called by every [`run_user`].
pub fn set_user(program: impl FnMut(&mut Registers, &TableHandle) -> Exit + 'static) {
    let program: super::Program = Box::new(program);
    MACHINE.with(|machine| *machine.program.borrow_mut() = Some(Rc::new(RefCell::new(program))));
}

/// Runs the thread until it traps: calls the program given to [`set_user`]; without one, user mode
/// is interrupted at once, and so it is in an address space that is gone.
pub fn run_user(registers: &mut Registers, table: &TableHandle) -> Exit {
    if table.is_gone() {
        return Exit::Interrupt;
    }
    let program = MACHINE.with(|machine| machine.program.borrow().clone());
    match program {
        Some(program) => (program.borrow_mut())(registers, table),
        None => Exit::Interrupt,
    }
}

/// What the fake processor offers.
pub fn cpu_features() -> CpuFeatures {
    CpuFeatures {
        xcr0: XCR0,
        leaf1_ecx: 0x1c00_0000,
        leaf1_edx: 0x0700_8151,
        ..CpuFeatures::default()
    }
}

pub(crate) fn initial_fpu() -> Vec<u8> {
    let mut bytes = vec![0; FPU_SIZE];
    bytes[0..2].copy_from_slice(&0x37f_u16.to_le_bytes());
    bytes[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
    bytes[28..32].copy_from_slice(&0xffff_u32.to_le_bytes());
    bytes
}

/// The FPU state of a thread in the standard XSAVE layout (SDM volume 1, section 13.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FpuState {
    bytes: Vec<u8>,
}

impl FpuState {
    /// What a new program finds: x87 control word 0x37f, MXCSR 0x1f80, all else zero.
    pub fn initial() -> FpuState {
        FpuState {
            bytes: initial_fpu(),
        }
    }

    /// CPU to memory.
    pub fn save(&mut self) {
        MACHINE.with(|machine| self.bytes.clone_from(&machine.fpu.borrow()));
    }

    /// Memory to CPU.
    pub fn load(&self) {
        MACHINE.with(|machine| machine.fpu.borrow_mut().clone_from(&self.bytes));
    }

    /// The state, [`FpuState::size`] bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes a state from outside. `None` if it has the wrong size or could not be loaded.
    pub fn from_bytes(bytes: &[u8]) -> Option<FpuState> {
        let word = |at: usize| {
            bytes
                .get(at..at + 8)?
                .try_into()
                .ok()
                .map(u64::from_le_bytes)
        };
        let plausible = bytes.len() == FPU_SIZE
            && word(512)? & !XCR0 == 0
            && bytes[520..576].iter().all(|&byte| byte == 0)
            && word(24)? & 0xffff_0000 == 0;
        plausible.then(|| FpuState {
            bytes: bytes.to_vec(),
        })
    }

    /// Bytes of a state on this machine.
    pub fn size() -> usize {
        FPU_SIZE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_sees_the_registers() {
        let owner = crate::PageTable::new().expect("memory");
        let table = owner.handle();
        let mut registers = Registers::default();
        assert_eq!(run_user(&mut registers, &table), Exit::Interrupt);
        set_user(|registers, _| {
            registers.rax += 1;
            Exit::Syscall
        });
        assert_eq!(run_user(&mut registers, &table), Exit::Syscall);
        assert_eq!(registers.rax, 1);
        drop(owner);
        assert_eq!(run_user(&mut registers, &table), Exit::Interrupt);
        assert_eq!(registers.rax, 1, "nothing ran in memory that is gone");
    }

    #[test]
    fn impossible_fpu_states_are_refused() {
        let good = FpuState::initial();
        assert_eq!(FpuState::from_bytes(good.bytes()), Some(good.clone()));
        for (at, value) in [(513, 1), (520, 1), (575, 1), (26, 1)] {
            let mut bytes = good.bytes().to_vec();
            bytes[at] = value;
            assert_eq!(FpuState::from_bytes(&bytes), None, "byte {at}");
        }
        assert_eq!(FpuState::from_bytes(&good.bytes()[1..]), None);
    }
}
