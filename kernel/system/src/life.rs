//! How bodies come and go.
//!
//! Law: a body is dropped only after home knows, or because home (or its end) has fenced it; and
//! memory that a vfork child has borrowed goes back to its owner first.

use crate::body::{AltStack, Body, Effects, Forward, LIMITS, Restart, Run, SS_DISABLE, Signals};
use crate::memory::Space;
use crate::system::System;
use abi::signal;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use machine::{FpuState, Registers};
use wire::{Message, NodeId};

const UNLIMITED: u64 = u64::MAX;

/// RLIMIT defaults, in the order of getrlimit(2): (soft, hard).
pub(crate) const LIMIT_DEFAULTS: [(u64, u64); LIMITS] = {
    let mut limits = [(UNLIMITED, UNLIMITED); LIMITS];
    limits[3] = (8 << 20, UNLIMITED);
    limits[4] = (0, UNLIMITED);
    limits[6] = (32_768, 32_768);
    limits[7] = (
        crate::files::USUAL_DESCRIPTORS as u64,
        crate::files::MAX_DESCRIPTORS as u64,
    );
    limits
};

impl Body {
    /// A body without program.
    pub fn new(pid: u32, home: NodeId) -> Body {
        Body {
            pid,
            home,
            epoch: 1,
            next_seq: 1,
            effects: Effects::Open,
            space: None,
            lender: None,
            registers: Registers::default(),
            fpu: Box::new(FpuState::initial()),
            signals: Signals::default(),
            ids: crate::body::Ids::default(),
            limits: LIMIT_DEFAULTS,
            clock_offset_ns: 0,
            wall_offset_ns: 0,
            cpu_ns: 0,
            run: Run::Blocked,
            queued: false,
            call: None,
            restart: Restart::default(),
            rewound_at: 0,
            forward: Forward::Idle,
            opened: Vec::new(),
            loaded: None,
            poked: false,
            held_back: 0,
            freezing: false,
            wish: None,
            held: false,
            alarm_ns: 0,
            name: [0; 16],
            clear_tid: 0,
            robust_list: (0, 0),
            missing: BTreeSet::new(),
            arriving: false,
        }
    }

    /// The body of a forked child, with the given memory, just behind the parent's call.
    pub fn child_of(parent: &Body, pid: u32, space: Option<Space>) -> Body {
        let mut signals = parent.signals.clone();
        signals.due = None;
        if let Some(mask) = signals.saved_mask.take() {
            signals.set_mask(mask);
        }
        if space.is_some() && parent.space.is_none() {
            // With CLONE_VM the alternate stack is the parent's: the child has none.
            signals.alt_stack = AltStack {
                base: 0,
                size: 0,
                flags: SS_DISABLE,
            };
        }
        Body {
            space,
            registers: parent.registers,
            fpu: parent.fpu.clone(),
            signals,
            ids: parent.ids,
            limits: parent.limits,
            clock_offset_ns: parent.clock_offset_ns,
            wall_offset_ns: parent.wall_offset_ns,
            name: parent.name,
            missing: parent.missing.clone(),
            ..Body::new(pid, parent.home)
        }
    }
}

impl System {
    /// Gives borrowed memory back to its owner, who then goes on.
    pub(crate) fn leave_memory(&mut self, pid: u32) {
        let body = self.body(pid);
        let Some(lender) = body.lender.take() else {
            return;
        };
        let space = body.space.take();
        if let Some(owner) = self.bodies.get_mut(&lender) {
            owner.space = space;
            self.wakes.push(lender);
        }
    }

    /// The body is over on this node, with all it holds here.
    pub(crate) fn drop_body(&mut self, pid: u32) {
        if !self.bodies.contains_key(&pid) {
            return;
        }
        self.forget_fpu(pid);
        self.cancel_alarm(pid);
        self.leave_memory(pid);
        let Some(body) = self.bodies.remove(&pid) else {
            return;
        };
        let arriving = body
            .space
            .as_ref()
            .is_some_and(|space| space.absent_count() > 0);
        if arriving && let Some(incoming) = self.incoming.get(&pid) {
            // The last source need not push any further.
            let (source, epoch) = incoming.source();
            self.send(
                source,
                Message::Discarded {
                    pid: crate::dispatch::wire_pid(pid),
                    epoch,
                },
            );
        }
        if let Some(wish) = body.wish {
            let result = Err(wire::MoveError::Gone);
            self.report(body.home, pid, wish.request, result);
        }
        if let Some(outgoing) = self.outgoing.get_mut(&pid) {
            outgoing.body_gone(self.now);
            self.pump_source(pid);
        }
        // Nothing more is awaited from the last source, and the room is free.
        self.fence_target(pid);
    }

    /// Whether a pid can be that of a new child of a body here. Home is not believed: the pid of
    /// another process would put that one's body aside.
    pub(crate) fn may_be_child(&self, parent: u32, child: u32) -> bool {
        wire::Pid(child).home() == wire::Pid(parent).home()
            && !self.bodies.contains_key(&child)
            && !self.outgoing.contains_key(&child)
            && self
                .incoming
                .get(&child)
                .is_none_or(|incoming| incoming.waits_for_image())
    }

    /// A fork that found no memory for the child: the child never ran.
    pub(crate) fn die_without_memory(&mut self, pid: u32) {
        self.die(pid, signal::SIGKILL);
        self.wakes.push(pid);
    }
}
