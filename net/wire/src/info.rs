//! What a node tells about itself in every Hello.
//!
//! Law: facts only, of bounded size; what to make of them is decided by whoever reads them.

use crate::{Invalid, PAYLOAD_MAX};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// CPU features a process may depend on (Intel SDM vol. 2, CPUID).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Features {
    /// Enabled extended state components.
    pub xcr0: u64,
    /// CPUID leaf 1, ECX.
    pub leaf1_ecx: u32,
    /// CPUID leaf 1, EDX.
    pub leaf1_edx: u32,
    /// CPUID leaf 7 subleaf 0, EBX.
    pub leaf7_ebx: u32,
    /// CPUID leaf 7 subleaf 0, ECX.
    pub leaf7_ecx: u32,
}

impl Features {
    /// Whether the machine is one of several on a real one (leaf 1, ECX, bit 31: a hypervisor says so).
    pub fn is_virtual(&self) -> bool {
        self.leaf1_ecx >> 31 != 0
    }

    /// Whether everything in `needed` exists here.
    pub fn cover(&self, needed: &Features) -> bool {
        needed.xcr0 & !self.xcr0 == 0
            && needed.leaf1_ecx & !self.leaf1_ecx == 0
            && needed.leaf1_edx & !self.leaf1_edx == 0
            && needed.leaf7_ebx & !self.leaf7_ebx == 0
            && needed.leaf7_ecx & !self.leaf7_ecx == 0
    }
}

/// A node's size, load and abilities.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Page frames of 4096 bytes in the machine.
    pub memory_frames: u64,
    /// Page frames that are free now.
    pub free_frames: u64,
    /// What its CPU can do.
    pub features: Features,
    /// Processes running there now.
    pub processes: u32,
    /// Hash of the boot archive: equal archives hold equal program images.
    pub archive: u64,
    /// It keeps a journal: after its reboot it knows the processes that it was home of and that were away.
    pub journal: bool,
}

impl NodeInfo {
    /// The payload of a Hello: postcard, far below [`PAYLOAD_MAX`].
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("plain numbers always encode")
    }

    /// Reads the payload of a Hello.
    ///
    /// # Errors
    /// [`Invalid::Length`], [`Invalid::Message`] or [`Invalid::Trailing`].
    pub fn decode(bytes: &[u8]) -> Result<NodeInfo, Invalid> {
        if bytes.len() > PAYLOAD_MAX {
            return Err(Invalid::Length);
        }
        match postcard::take_from_bytes(bytes) {
            Ok((info, [])) => Ok(info),
            Ok(_) => Err(Invalid::Trailing),
            Err(_) => Err(Invalid::Message),
        }
    }
}
