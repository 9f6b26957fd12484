//! Memory of the model's machine: known to the card by address for as long as a handle exists.

use std::cell::RefCell;
use std::rc::Rc;

use drivers::platform::{Area, Page};

use super::{Bytes, World};

/// Memory lent to the device, or a page.
#[derive(Clone)]
pub(crate) struct Memory {
    physical: u64,
    bytes: Bytes,
}

impl Memory {
    pub(crate) fn new(world: &World, length: usize) -> Memory {
        let mut state = world.0.borrow_mut();
        let physical = state.next_address;
        state.next_address += length.next_multiple_of(4096) as u64;
        let bytes = Rc::new(RefCell::new(vec![0; length]));
        state.memory.insert(physical, Rc::downgrade(&bytes));
        state.memory.retain(|_, weak| weak.strong_count() > 0);
        Memory { physical, bytes }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.borrow().clone()
    }

    pub(crate) fn fill(&self, from: &[u8]) {
        self.bytes.borrow_mut()[..from.len()].copy_from_slice(from);
    }

    pub(crate) fn handles(&self) -> usize {
        Rc::strong_count(&self.bytes)
    }
}

impl Area for Memory {
    fn physical(&self) -> u64 {
        self.physical
    }
    fn read(&self, offset: usize, into: &mut [u8]) {
        into.copy_from_slice(&self.bytes.borrow()[offset..offset + into.len()]);
    }
    fn write(&self, offset: usize, from: &[u8]) {
        self.bytes.borrow_mut()[offset..offset + from.len()].copy_from_slice(from);
    }
    fn read_u16(&self, offset: usize) -> u16 {
        let mut bytes = [0; 2];
        self.read(offset, &mut bytes);
        u16::from_le_bytes(bytes)
    }
    fn read_u32(&self, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        self.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }
    fn write_u16(&self, offset: usize, value: u16) {
        self.write(offset, &value.to_le_bytes());
    }
    fn write_u32(&self, offset: usize, value: u32) {
        self.write(offset, &value.to_le_bytes());
    }
    fn write_u64(&self, offset: usize, value: u64) {
        self.write(offset, &value.to_le_bytes());
    }
}

impl Page for Memory {
    fn physical(&self) -> u64 {
        self.physical
    }
    fn is_shared(&self) -> bool {
        self.handles() > 1
    }
}
