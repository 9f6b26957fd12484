//! The hand-over of a process: three state machines, at home, at the source and at the target.
//!
//! Law: a copy of a process has effects only after home's decision naming its node, its boot and
//! its epoch; the source never runs a copy again whose image is out, unless home says so; home gives
//! a process back only before its first effect elsewhere. Safety rests on epochs compared and
//! swapped at home ([`HomeRecord`]), never on time. Time only makes somebody *ask*.
//!
//! # The good path
//! ```text
//!   source S ([`Source`])                target D ([`Target`])              home H ([`HomeRecord`])
//!   Offered   -- Offer(e+1) ----------->
//!             <---------------- Admit -- Admitted
//!   (Copying) -- pages, while it runs ->
//!   Freezing  (glue: drain, capture)
//!   Frozen    -- pages, Image --------->
//!                                        Waiting -- CommitRequest(e) -----> ticket? commit: e+1,
//!                                        (computes,                         owner D, previous S
//!                                         no effects)
//!             <------------------------------------------------- Decision --
//!   Committed (pushes pages)             Open    <-------------- Decision --
//!                                                -- Call(ARRIVED, e+1) ---> accept_effect
//!             <-------------------------------------------------- Release --
//!             -- last page, PushEnd ----> Finished
//!   Finished
//! ```
//!
//! # How the glue drives the machines
//! All three are plain values without clock or I/O. Every method takes `now` in ns of one monotonic
//! clock of the node. After *every* call of a `Source` or `Target` method, take `poll_action()` until
//! it is `None` and do the actions in that order; then re-arm a timer with `poll_timeout()`. A
//! spurious `on_timeout` does nothing. `Send(node, message)` is `Node::send`; if that says
//! `Unreachable`, drop the message (a loss is told by `PeerLost`, and what matters is asked again).
//! Messages to the node itself go through the node's loop-back like any other.
//!
//! *At every node*: keep one `Source` and one `Target` per pid at most. Hand each message about a
//! pid to both (`on_message`); they ignore what is not theirs. Hand `PeerLost`, `PeerSilent` to all.
//!
//! *Source*: on `MoveRequest` (or locally), if the process is not already moving, not still being
//! pushed to this node (`Busy`) and runs here in `epoch`: [`Source::new`].
//! * `Copy` (only if the [`Plan`] says so): send pages while it runs, then [`Source::copied`].
//! * `Freeze`: stop the process at the user boundary; if its call is in flight send `Cancel` and
//!   wait for the reply (`Interrupted` leaves the sequence number free, `Value` goes into the
//!   registers). Then, if [`Source::freezing`] still holds, in one go: send the first pages and
//!   the `Image` with a ticket for [`Source::passage`], call [`Source::image_sent`]. If it cannot be frozen: [`Source::freeze_failed`].
//!   If the body ends before its image is out (exit, kill): [`Source::body_gone`].
//! * `Resume { epoch, poke }`: the body runs here again, in `epoch`. It may come while still
//!   draining: then forget the drain. Note the epoch as the body's; look at signals if `poke`.
//! * `StartPush`: begin to push; keep every page. Answer `PageRequest`s from the image being out
//!   until `Forget`.
//! * `MayDrop`: from now on drop each page when the target has acknowledged it.
//! * When everything up to `PushEnd` is acknowledged: [`Source::push_done`].
//! * `Forget`: nothing stays here: drop body, pages, push. `Finished(result)`: the last action;
//!   send `MoveResult` (`stats` from [`Source::running`] and own counters) and drop the machine.
//!   Home itself reports the death of the process, if any.
//!
//! *Target*: on `Offer`: refuse (`Message::Refuse`) if [`Tombstones::allows`] says no, if a body of
//! that pid is here (`Busy`), if features or room are missing, or if an older `Target` of that pid
//! exists which is no longer [`Target::waits_for_image`] (`Busy`; else discard the older one).
//! Reserve everything, then [`Target::new`].
//! * A copy of a page (it runs at the source meanwhile): keep it for the image, [`Target::heard`].
//! * Page and `PagesZero` before the image: stage them if `from`, boot and epoch fit the target.
//! * `Image`: if there is no target for which [`Target::expects`] holds, answer `Discarded`. Else
//!   check and install, [`Tombstones::record`], [`Target::image_installed`], or else
//!   [`Target::image_bad`].
//! * `Compute`: run it; every home-bound call, exit and anything seen outside waits (speculation).
//! * `OpenEffects { epoch, poke }`: send the empty call `wire::CALL_ARRIVED` with the next sequence
//!   number first (also when home is this node), then let waiting calls go, one at a time.
//! * `PushEnd`: hand it over after the pages before it have been installed.
//! * `PagesLost`: the source died before all pages were here: what is absent will never come; end
//!   the process by way of home as if killed, once it needs such a page (or at once).
//! * `Discard`: drop the copy and whatever was reserved; nothing may ever run from it.
//!   `Finished`: the last action; drop the machine. After `OpenEffects` without `Discard` the body
//!   lives on.
//! * When the copy has run its first instruction: [`Target::started`], for statistics.
//!
//! *Body* (owner side) outside a move: a `Reply` with `Outcome::Refused` in a newer epoch, or a
//! `Decision` of an epoch above the body's naming somebody else, or `Lost` at or above its epoch,
//! from home: the copy is stale, drop it (and [`Target::fenced`] if a target exists). Decisions at
//! or below the body's epoch are old: ignore. When home has booted again (`PeerLost`), drop it, or if its
//! new boot has a journal, let nothing out before home says that it knows the process.
//!
//! *Home*: keeps a [`HomeRecord`] per process, from fork to reaping.
//! * `Call`: [`HomeRecord::accept_effect`]; send the release if there is one, then act on the
//!   [`rpc::Admission`]. `Cancel`, completion: [`HomeRecord::gate_mut`].
//! * `CommitRequest`: judge its ticket (the source's word for just this passage: asker, its boot, epoch and source),
//!   [`HomeRecord::commit`] (or [`HomeRecord::answer`] if it is not to be); set `poke`, send the decision to the asker, and if it is `granted` to the source too. No
//!   decision: answer as without record. `AbortRequest`: [`HomeRecord::abort`]; send it to the asker.
//! * A `Call`, `Cancel`, `CommitRequest` or `AbortRequest` for a pid without record: answer
//!   `Lost { pid, epoch: the one asked with }`.
//! * `PeerLost { id, boot }`: for each record [`HomeRecord::owner_lost`] and then
//!   [`HomeRecord::previous_lost`]. `HandBack`: send the decision to the new owner. `Ended`: the
//!   process died with its node: reap it as killed, send `Lost` to `copies()`. `Awaited`: a target may have its image;
//!   at [`HomeRecord::poll_timeout`] see what [`HomeRecord::on_timeout`] says.
//! * `PeerSilent`: [`HomeRecord::owner_suspected`] may give back a process that has had no effect
//!   yet; send the decision to both nodes.
//! * Exit or kill: the record goes; send `Lost` with the gate's epoch to all of
//!   [`HomeRecord::copies`] but the owner that asked for the exit.
//!
//! Home without a journal: a home that boots again has no records; sources and targets take
//! `PeerLost` of home as the end of the process. With one: each answer of a commit or an abort is written down before
//! it is sent, and [`HomeRecord::restored`] makes the record again ([`HomeRecord::rebooted`]; then what owners say:
//! [`HomeRecord::claimed`]); sources and targets are told only of what else the
//! node was to them ([`Source::on_home_rebooted`], [`Target::on_home_rebooted`]), and ask home again. So a ticket has to hold for the next
//! boot of home. Deliberately not here: pages, descriptors, the choice of where to move, and what tickets are made of:
//! to the machines they are bytes.
#![no_std]

extern crate alloc;

mod adoption;
mod home;
mod source;
mod target;
mod tombstones;

pub use adoption::{Claim, unknown};
pub use home::{Accepted, Decision, HomeRecord, LostOutcome, Permit};
pub use source::{Plan, RunningReport, Source, SourceAction, SourceState};
pub use target::{Target, TargetAction, TargetState};
pub use tombstones::Tombstones;

/// How long the source waits for `Admit` before the move fails; the process runs all the while. ns.
pub const OFFER_TIMEOUT_NS: u64 = 2_000_000_000;
/// How long a process may be drained and captured before it runs on at the source. ns.
pub const FREEZE_TIMEOUT_NS: u64 = 1_000_000_000;
/// How long after its image is out the source waits for a decision before it asks for an abort. ns.
pub const DECISION_TIMEOUT_NS: u64 = 1_000_000_000;
/// How often a question to home is repeated. ns.
pub const RETRY_NS: u64 = 1_000_000_000;
/// How long the target keeps room for an image that does not come: longer than any source can take
/// from `Admit` to image. ns.
pub const ADMIT_TIMEOUT_NS: u64 = 4_000_000_000;
/// How long home waits for the target of a process whose owner has died in the middle of a move: longer than it takes to
/// hear of the death, and to ask again. ns.
pub const HEIR_TIMEOUT_NS: u64 = 4 * RETRY_NS;

#[cfg(test)]
mod tests;
