//! Moving processes by writing to `goto`, and what became of it.
//!
//! Law: a request is answered once, to who asked; everybody who waits looks again.

use crate::body::Hold;
use crate::dispatch::wire_pid;
use crate::hand_over::errno_of;
use crate::home::{Asked, INIT, MOVES_KEPT, MoveRequest};
use crate::system::System;
use crate::timeline::What;
use crate::wait::Stop;
use abi::Errno;
use alloc::string::ToString;
use wire::{Message, MoveError, MoveHow, MoveMode, MoveStats, NodeId, Stalls};

/// Asks for moves that no process has asked for.
const NOBODY: u32 = 0;

/// Where a process is to go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Home,
    Node(NodeId),
    /// Where a program would best start now, as home sees it.
    Best,
}

/// What is written to `goto`: a node or `home` (`None`), and how to get there.
fn order(text: &str) -> Option<(Where, MoveHow)> {
    let mut words = text.split_ascii_whitespace();
    let target = match words.next()? {
        "home" => Where::Home,
        "best" => Where::Best,
        number => Where::Node(NodeId(number.parse().ok()?)),
    };
    let mut how = MoveHow::default();
    for word in words {
        let (key, value) = word.split_once('=')?;
        let times = |unit: u64| {
            value
                .parse::<u64>()
                .ok()?
                .checked_mul(unit)
                .filter(|it| *it > 0)
        };
        match key {
            "mode" => how.mode = MoveMode::of_name(value)?,
            "maxfreeze_us" => how.max_freeze_ns = times(1000)?,
            "timeout_ms" => how.timeout_ns = times(1_000_000)?,
            "bandwidth" => how.bandwidth = times(1)?,
            _ => return None,
        }
    }
    Some((target, how))
}

/// Whether the same move may well succeed a moment later.
fn passes(error: &MoveError) -> bool {
    match error {
        MoveError::NodeDead
        | MoveError::Crowded
        | MoveError::Busy
        | MoveError::TimedOut
        | MoveError::Aborted => true,
        MoveError::UnknownNode
        | MoveError::NodeFull
        | MoveError::Features
        | MoveError::CantMove(_)
        | MoveError::Gone
        | MoveError::Bound(_) => false,
    }
}

impl System {
    /// `goto`: moves a process and returns when it is there; a process that moves itself returns
    /// there.
    pub(super) fn go(&mut self, pid: u32, text: &str, writer: u32) -> Result<(), Stop> {
        let me = self.me;
        let own = self.process_at_home(writer) == pid;
        let asker = if own { pid } else { writer };
        if text == "cancel" {
            return self.cancel_move(pid).map_err(Stop::from);
        }
        let (target, how) = order(text).ok_or(Errno::EINVAL)?;
        let is_best = target == Where::Best;
        let target = match target {
            Where::Home => me,
            Where::Node(node) => node,
            Where::Best => self.best_start(),
        };
        let home = self
            .homes
            .get_mut(&pid)
            .filter(|home| home.lives())
            .ok_or(Errno::ESRCH)?;
        if pid == INIT {
            let reason = MoveError::CantMove("the first process of a node stays there".to_string());
            return Err(self.explain(pid, &reason).into());
        }
        let gate = home.record.gate();
        let (owner, owner_boot, epoch) = (gate.owner(), gate.owner_boot(), gate.epoch());
        if let Some(request) = home.request.take() {
            match (
                request.asker == asker
                    && (is_best || request.target == target)
                    && request.how == how,
                request.result.clone(),
            ) {
                (true, Some(result)) => return self.outcome(pid, result),
                // A request under way is waited for, one's own as well as somebody else's.
                (_, None) if request.asker != pid || !own => {
                    home.request_done.wait(writer);
                    home.request = Some(request);
                    return Err(Stop::Wait);
                }
                _ => {}
            }
        }
        if owner == target {
            return Ok(());
        }
        if self.keeper.awaits(pid) {
            // Its owner may not know this boot yet, and would not hear of it.
            return Err(self.explain(pid, &MoveError::Busy).into());
        }
        self.reachable(target)
            .map_err(|error| self.explain(pid, &error))?;
        self.last_request = self.last_request.wrapping_add(1);
        let id = self.last_request;
        let Some(home) = self.homes.get_mut(&pid) else {
            return Err(Errno::ESRCH.into());
        };
        home.request = Some(MoveRequest {
            id,
            target,
            how,
            asker,
            source: (owner, owner_boot),
            result: None,
        });
        home.ask(Asked {
            request: id,
            node: owner,
            target,
        });
        if !own {
            home.request_done.wait(writer);
        }
        let of = (pid, epoch.saturating_add(1));
        self.timeline
            .note(What::Asked, of, owner, u64::from(target.0));
        if owner == me {
            let hold = if own { Hold::Waits(writer) } else { Hold::Runs };
            self.wish(pid, epoch, (id, target, how), hold);
        } else {
            let request = Message::MoveRequest {
                pid: wire_pid(pid),
                epoch,
                request: id,
                target,
                asker: wire_pid(writer),
                how,
            };
            self.send(owner, request);
        }
        if own { Ok(()) } else { Err(Stop::Wait) }
    }

    /// `goto`, "cancel": the move that is under way is not wanted any more. Who waits for it is told what
    /// became of it: it may have been too late.
    fn cancel_move(&mut self, pid: u32) -> Result<(), Errno> {
        let home = self.homes.get(&pid).filter(|home| home.lives());
        let home = home.ok_or(Errno::ESRCH)?;
        let under_way = |request: &&MoveRequest| request.result.is_none();
        let request = home.request.as_ref().filter(under_way);
        let (id, (owner, _)) = request
            .map(|request| (request.id, request.source))
            .ok_or(Errno::ENOENT)?;
        let message = Message::MoveCancel {
            pid: wire_pid(pid),
            request: id,
        };
        self.send(owner, message);
        Ok(())
    }

    /// Sees to it that a process is here, as somebody asks for what can only be had here. If it is
    /// elsewhere it is sent for, and the call that needs it waits and begins again when it has come. What a
    /// program asks for does not fail because a link was down for a while: it is sent for again.
    pub(crate) fn bring_home(&mut self, pid: u32, waiter: u32) -> Result<(), Stop> {
        let home = self.homes.get_mut(&pid).ok_or(Errno::ESRCH)?;
        if home.record.gate().owner() == self.me {
            return Ok(());
        }
        home.request.take_if(|request| {
            let result = request.result.as_ref();
            request.asker == NOBODY
                && result.is_some_and(|result| result.as_ref().is_err_and(passes))
        });
        self.send_for(pid, "home")?;
        if let Some(home) = self.homes.get_mut(&pid) {
            home.request_done.wait(waiter);
        }
        Err(Stop::Wait)
    }

    /// Begins a move that nobody waits for, now or later, unless one is under way. What became of the one before
    /// says nothing about it.
    pub(crate) fn send_off(&mut self, pid: u32, target: NodeId) -> Result<(), Stop> {
        let home = self.homes.get_mut(&pid).ok_or(Errno::ESRCH)?;
        let is_old =
            |request: &mut MoveRequest| request.asker == NOBODY && request.result.is_some();
        home.request.take_if(is_old);
        self.send_for(pid, &target.0.to_string())
    }

    /// Begins a move that nobody waits for, unless one is under way.
    fn send_for(&mut self, pid: u32, target: &str) -> Result<(), Stop> {
        // An old result is taken out by the first attempt.
        for _ in 0..2 {
            match self.go(pid, target, NOBODY) {
                Ok(()) => {}
                Err(Stop::Wait) => break,
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    /// The result of a request, from wherever the process was.
    pub(crate) fn move_result(
        &mut self,
        from: NodeId,
        pid: u32,
        id: u64,
        result: Result<MoveStats, MoveError>,
    ) {
        let Some(home) = self.homes.get_mut(&pid) else {
            return;
        };
        let mine = |asked: &Asked| (asked.request, asked.node) == (id, from);
        let Some(index) = home.asked.iter().position(mine) else {
            return;
        };
        home.asked.remove(index);
        if let Ok(stats) = &result {
            self.timeline
                .note(What::Told, (pid, stats.epoch), from, stats.total_ns);
            home.obstacle = None;
            home.move_count += 1;
            home.moves.push_back((home.move_count, *stats));
            if home.moves.len() > MOVES_KEPT {
                home.moves.pop_front();
            }
        }
        if let Some(request) = home.request.as_mut().filter(|request| request.id == id) {
            if request.asker == pid {
                // It has been told where it is.
                home.request = None;
                if let Err(error) = &result {
                    home.obstacle = Some(error.to_string());
                }
            } else {
                request.result = Some(result);
            }
        }
        home.request_done.wake();
    }

    /// How the target of a move has waited for pages, when that has come later than the result.
    pub(crate) fn move_settled(
        &mut self,
        from: NodeId,
        (pid, epoch): (u32, u64),
        target: NodeId,
        stalls: Stalls,
    ) {
        if let Some(home) = self.homes.get_mut(&pid)
            && let Some((_, stats)) = home.moves.iter_mut().rev().find(|(_, stats)| {
                (stats.epoch, stats.to) == (epoch, target) && [stats.from, stats.to].contains(&from)
            })
            && stats.stalls.is_none()
        {
            stats.stalls = Some(stalls);
        }
    }

    fn outcome(&mut self, pid: u32, result: Result<MoveStats, MoveError>) -> Result<(), Stop> {
        result
            .map(|_| ())
            .map_err(|error| self.explain(pid, &error).into())
    }

    /// The error number for a reason, which is kept in words for `cantmove`.
    fn explain(&mut self, pid: u32, error: &MoveError) -> Errno {
        if let Some(home) = self.homes.get_mut(&pid) {
            home.obstacle = Some(error.to_string());
        }
        errno_of(error)
    }
}
