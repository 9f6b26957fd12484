//! The hand-over, message by message: the good path and each row of the fault table.
//!
//! Law: a trace names every action a machine gives, in order; nothing more and nothing less.

use crate::{
    ADMIT_TIMEOUT_NS, DECISION_TIMEOUT_NS, Decision, FREEZE_TIMEOUT_NS, HEIR_TIMEOUT_NS,
    HomeRecord, LostOutcome, OFFER_TIMEOUT_NS, Permit, Plan, RETRY_NS, Source, SourceAction,
    SourceState, Target, TargetAction, TargetState, Tombstones,
};
use alloc::vec;
use alloc::vec::Vec;
use rpc::Admission;
use wire::{
    Attempt, BootId, Features, Image, Message, MoveError, NodeId, Offer, Passage, Pid, Terms,
    Ticket,
};

const H: NodeId = NodeId(1);
const S: NodeId = NodeId(2);
const D: NodeId = NodeId(3);
const H_BOOT: BootId = BootId(11);
const S_BOOT: BootId = BootId(22);
const D_BOOT: BootId = BootId(33);
const P: Pid = Pid::new(H, 5);
const A: Attempt = Attempt::new(7);

fn offer() -> Offer {
    Offer {
        pid: P,
        epoch: 2,
        attempt: A,
        home: H,
        pages: 10,
        features: Features {
            xcr0: 3,
            leaf1_ecx: 0,
            leaf1_edx: 0,
            leaf7_ebx: 0,
            leaf7_ecx: 0,
        },
        terms: Terms::Anyhow,
        copies: false,
        keeps: false,
        draft: Vec::new(),
    }
}

fn image() -> Image {
    Image {
        pid: P,
        epoch: 2,
        attempt: A,
        source_boot: S_BOOT,
        ticket: Ticket::default(),
        frozen_at_ns: 0,
        descriptor: vec![],
        copied: vec![],
    }
}

fn decision(epoch: u64, owner: NodeId, owner_boot: BootId) -> Message {
    Message::Decision {
        pid: P,
        epoch,
        owner,
        owner_boot,
        poke: false,
    }
}

fn admit() -> Message {
    Message::Admit {
        pid: P,
        epoch: 2,
        attempt: A,
        boot: D_BOOT,
    }
}

const RELEASE: Message = Message::Release { pid: P, epoch: 2 };
const PUSH_END: Message = Message::PushEnd { pid: P, epoch: 2 };
const DISCARDED: Message = Message::Discarded {
    pid: P,
    epoch: 2,
    attempt: A,
};
const ABORT: Message = Message::AbortRequest {
    pid: P,
    old_epoch: 1,
};
const COMMIT: Message = Message::CommitRequest {
    pid: P,
    old_epoch: 1,
    source: S,
    source_boot: S_BOOT,
    ticket: Ticket([0; 16]),
};

fn refused(reason: MoveError) -> Message {
    Message::Refuse {
        pid: P,
        epoch: 2,
        attempt: A,
        reason,
    }
}

fn withdrawn() -> Message {
    refused(MoveError::Aborted)
}

fn resume(epoch: u64) -> SourceAction {
    SourceAction::Resume { epoch, poke: false }
}

fn failed(reason: MoveError) -> SourceAction {
    SourceAction::Finished(Err(reason))
}

fn s_does(source: &mut Source) -> Vec<SourceAction> {
    core::iter::from_fn(|| source.poll_action()).collect()
}

fn d_does(target: &mut Target) -> Vec<TargetAction> {
    core::iter::from_fn(|| target.poll_action()).collect()
}

fn offered() -> Source {
    let mut source = Source::new(0, P, 1, (S, S_BOOT), H, D, offer());
    assert_eq!(
        s_does(&mut source),
        [SourceAction::Send(D, Message::Offer(offer()))]
    );
    source
}

fn freezing() -> Source {
    let mut source = offered();
    source.on_message(0, D, D_BOOT, &admit());
    assert_eq!(s_does(&mut source), [SourceAction::Freeze]);
    source
}

fn frozen() -> Source {
    let mut source = freezing();
    assert!(source.freezing());
    source.image_sent(0);
    assert_eq!(s_does(&mut source), []);
    source
}

fn committed() -> Source {
    let mut source = frozen();
    source.on_message(0, H, H_BOOT, &decision(2, D, D_BOOT));
    assert_eq!(s_does(&mut source), [SourceAction::StartPush]);
    source
}

fn admitted() -> Target {
    let mut target = Target::new(0, (D, D_BOOT), S, S_BOOT, &offer());
    assert_eq!(d_does(&mut target), [TargetAction::Send(S, admit())]);
    target
}

fn waiting() -> Target {
    let mut target = admitted();
    assert!(target.expects(S, S_BOOT, &image()));
    target.image_installed(0, &image());
    let asked = TargetAction::Send(H, COMMIT);
    assert_eq!(d_does(&mut target), [asked, TargetAction::Compute]);
    target
}

fn open() -> Target {
    let mut target = waiting();
    target.on_message(0, H, H_BOOT, &decision(2, D, D_BOOT));
    let (epoch, poke) = (2, false);
    assert_eq!(
        d_does(&mut target),
        [TargetAction::OpenEffects { epoch, poke }]
    );
    target
}

fn home() -> HomeRecord {
    HomeRecord::new(P, S, S_BOOT)
}

fn passage(target: (NodeId, BootId), old_epoch: u64, source: (NodeId, BootId)) -> Passage {
    Passage {
        pid: P,
        old_epoch,
        source,
        target,
    }
}

/// A node asks for the process with the source's word.
fn commits(
    home: &mut HomeRecord,
    target: (NodeId, BootId),
    old_epoch: u64,
    source: (NodeId, BootId),
) -> Decision {
    let word = home.commit(&passage(target, old_epoch, source), Permit::Given);
    word.expect("it is an epoch that was")
}

fn home_committed() -> HomeRecord {
    let mut home = home();
    let word = commits(&mut home, (D, D_BOOT), 1, (S, S_BOOT));
    assert!(word.granted);
    assert_eq!(word.message(), decision(2, D, D_BOOT));
    home
}

#[test]
fn the_good_path() {
    let mut source = committed();
    let mut target = open();
    let mut home = home_committed();

    let first = home.accept_effect(D, D_BOOT, 2, P, 1);
    assert_eq!(first.admission, Admission::Execute);
    assert_eq!(first.release, Some((S, RELEASE)));
    let again = home.accept_effect(D, D_BOOT, 2, P, 1);
    assert_eq!(
        (again.admission, again.release),
        (Admission::Running, None),
        "released once"
    );

    source.on_message(0, H, H_BOOT, &RELEASE);
    assert_eq!(s_does(&mut source), [SourceAction::MayDrop]);
    target.on_message(0, S, S_BOOT, &PUSH_END);
    assert_eq!(d_does(&mut target), [TargetAction::Finished]);
    assert_eq!(target.state(), TargetState::Done);
    source.push_done(0);
    assert_eq!(
        s_does(&mut source),
        [SourceAction::Forget, SourceAction::Finished(Ok(()))]
    );
    assert_eq!(source.state(), SourceState::Done);
    assert_eq!(source.poll_timeout(), None);
}

#[test]
fn a_push_may_end_before_the_release_and_before_the_decision() {
    let mut source = committed();
    source.push_done(0);
    assert_eq!(s_does(&mut source), []);
    source.on_message(0, H, H_BOOT, &RELEASE);
    let end = [
        SourceAction::MayDrop,
        SourceAction::Forget,
        SourceAction::Finished(Ok(())),
    ];
    assert_eq!(s_does(&mut source), end);

    let mut target = waiting();
    target.on_message(0, S, S_BOOT, &PUSH_END);
    assert_eq!(d_does(&mut target), []);
    target.on_message(0, H, H_BOOT, &decision(2, D, D_BOOT));
    let (epoch, poke) = (2, false);
    assert_eq!(
        d_does(&mut target),
        [
            TargetAction::OpenEffects { epoch, poke },
            TargetAction::Finished
        ]
    );
}

#[test]
fn a_move_to_where_it_is_does_nothing() {
    let mut source = Source::new(0, P, 1, (S, S_BOOT), H, S, offer());
    assert_eq!(s_does(&mut source), [SourceAction::Finished(Ok(()))]);
}

#[test]
fn statistics_reach_the_source() {
    let mut target = open();
    target.started(70, 77, 3);
    let Some(TargetAction::Send(to, report)) = target.poll_action() else {
        panic!("a report is sent");
    };
    let mut source = committed();
    source.on_message(0, D, D_BOOT, &report);
    let seen = source.running().expect("it was reported");
    assert_eq!((to, seen.first_run_ns, seen.present), (S, 77, 3));
}

// Fault table, row 1: before the final image is out.

#[test]
fn before_the_image_a_lost_source_frees_the_target() {
    let mut target = admitted();
    target.on_peer_lost(0, S, S_BOOT);
    assert_eq!(
        d_does(&mut target),
        [TargetAction::Discard, TargetAction::Finished]
    );
}

#[test]
fn before_the_image_a_lost_target_changes_nothing_at_the_source() {
    let told = SourceAction::Send(D, withdrawn());
    let mut source = offered();
    source.on_peer_lost(0, D, D_BOOT);
    assert_eq!(
        s_does(&mut source),
        [told.clone(), failed(MoveError::NodeDead)]
    );

    let mut source = freezing();
    source.on_peer_lost(0, D, BootId(32));
    assert_eq!(
        s_does(&mut source),
        [],
        "an older boot than the one that admitted"
    );
    source.on_peer_lost(0, D, D_BOOT);
    assert_eq!(
        s_does(&mut source),
        [told, resume(1), failed(MoveError::NodeDead)]
    );
}

#[test]
fn before_the_image_a_silent_home_prevents_the_freeze() {
    let told = SourceAction::Send(D, withdrawn());
    let mut source = offered();
    source.on_peer_silent(0, H);
    assert_eq!(
        s_does(&mut source),
        [told.clone(), failed(MoveError::NodeDead)]
    );
    source.on_message(0, D, D_BOOT, &admit());
    assert_eq!(s_does(&mut source), []);

    let mut source = freezing();
    source.on_peer_lost(0, H, H_BOOT);
    assert_eq!(
        s_does(&mut source),
        [told, resume(1), failed(MoveError::NodeDead)]
    );
}

// Row 2: the image is out, home has not decided.

#[test]
fn image_out_a_lost_source_leaves_the_word_to_home() {
    let mut target = waiting();
    target.on_peer_lost(0, S, S_BOOT);
    assert_eq!(d_does(&mut target), [], "home may have decided for us");
    let mut granted = target.clone();
    granted.on_message(0, H, H_BOOT, &decision(2, D, D_BOOT));
    let (epoch, poke) = (2, false);
    assert_eq!(
        d_does(&mut granted),
        [
            TargetAction::OpenEffects { epoch, poke },
            TargetAction::PagesLost,
            TargetAction::Finished
        ]
    );
    // Home heard of the loss first.
    assert_eq!(home().owner_lost(0, S, S_BOOT, false), LostOutcome::Ended);
    target.on_message(0, H, H_BOOT, &Message::Lost { pid: P, epoch: 1 });
    assert_eq!(
        d_does(&mut target),
        [TargetAction::Discard, TargetAction::Finished]
    );
}

#[test]
fn image_out_a_lost_source_is_followed_by_the_target_that_has_its_image() {
    let mut home = home();
    assert_eq!(home.owner_lost(7, S, S_BOOT, true), LostOutcome::Awaited);
    home.previous_lost(S, S_BOOT);
    assert_eq!(home.poll_timeout(), Some(7 + HEIR_TIMEOUT_NS));
    let mut late = home.clone();
    assert_eq!(late.on_timeout(7), LostOutcome::Unaffected);
    assert_eq!(late.on_timeout(7 + HEIR_TIMEOUT_NS), LostOutcome::Ended);
    let word = commits(&mut home, (D, D_BOOT), 1, (S, S_BOOT));
    assert_eq!((word.epoch, word.owner, word.granted), (2, D, true));
    assert_eq!(home.poll_timeout(), None);
    // To nobody can it be given back, and from nobody are pages to come.
    assert_eq!((home.previous(), home.last_source()), (None, None));
    assert_eq!(home.owner_lost(8, D, D_BOOT, false), LostOutcome::Ended);
}

#[test]
fn image_out_a_lost_target_gives_it_back_in_a_new_epoch() {
    let mut source = frozen();
    source.on_peer_lost(0, D, D_BOOT);
    assert_eq!(s_does(&mut source), [SourceAction::Send(H, ABORT)]);
    let mut home = home();
    let word = home.abort(S, S_BOOT, 1);
    assert_eq!((word.epoch, word.owner, word.granted), (2, S, true));
    source.on_message(0, H, H_BOOT, &word.message());
    assert_eq!(
        s_does(&mut source),
        [resume(2), failed(MoveError::NodeDead)]
    );
    let late = commits(&mut home, (D, D_BOOT), 1, (S, S_BOOT));
    assert_eq!((late.epoch, late.owner, late.granted), (2, S, false));
}

#[test]
fn image_out_both_ask_again_while_home_is_silent() {
    let mut source = frozen();
    let mut target = waiting();
    source.on_peer_silent(0, H);
    let mut asked = 0;
    for second in 1..=100 {
        let now = second * DECISION_TIMEOUT_NS;
        source.on_timeout(now);
        target.on_timeout(now);
        let (s, d) = (s_does(&mut source), d_does(&mut target));
        assert!(s.iter().all(|a| *a == SourceAction::Send(H, ABORT)));
        assert!(d.iter().all(|a| *a == TargetAction::Send(H, COMMIT)));
        asked += s.len() + d.len();
    }
    assert_eq!(asked, 200);
}

#[test]
fn image_out_a_home_without_journal_takes_the_process_with_it() {
    let gone = [SourceAction::Forget, failed(MoveError::Gone)];
    let mut source = frozen();
    source.on_peer_lost(0, H, H_BOOT);
    assert_eq!(s_does(&mut source), gone);
    let mut target = waiting();
    target.on_peer_lost(0, H, H_BOOT);
    assert_eq!(
        d_does(&mut target),
        [TargetAction::Discard, TargetAction::Finished]
    );
}

// Row 3: committed, no effect yet.

#[test]
fn committed_a_lost_source_matters_only_until_the_push_is_done() {
    let mut target = open();
    target.on_peer_lost(0, S, S_BOOT);
    assert_eq!(
        d_does(&mut target),
        [TargetAction::PagesLost, TargetAction::Finished]
    );
    let mut target = open();
    target.on_message(0, S, S_BOOT, &PUSH_END);
    assert_eq!(d_does(&mut target), [TargetAction::Finished]);
    target.on_peer_lost(0, S, S_BOOT);
    assert_eq!(d_does(&mut target), []);

    let mut home = home_committed();
    home.previous_lost(S, S_BOOT);
    assert_eq!(
        home.owner_lost(0, S, S_BOOT, false),
        LostOutcome::Unaffected
    );
    assert_eq!(home.accept_effect(D, D_BOOT, 2, P, 1).release, None);
}

#[test]
fn committed_a_lost_target_is_replaced_by_the_frozen_copy() {
    let mut home = home_committed();
    let LostOutcome::HandBack(word) = home.owner_lost(0, D, D_BOOT, false) else {
        panic!("nothing was seen of it yet");
    };
    assert_eq!((word.epoch, word.owner), (3, S));
    // The source may know of the commit or not, and of the loss or not.
    for mut source in [frozen(), committed()] {
        source.on_message(0, H, H_BOOT, &word.message());
        let [back, SourceAction::Finished(Err(_))] = &s_does(&mut source)[..] else {
            panic!("it ends with a failure");
        };
        assert_eq!(*back, resume(3));
    }
    let mut source = committed();
    source.on_peer_lost(0, D, D_BOOT);
    assert_eq!(s_does(&mut source), [SourceAction::Send(H, ABORT)]);
    source.on_message(0, H, H_BOOT, &decision(2, D, D_BOOT));
    assert_eq!(s_does(&mut source), [], "home has not heard of it yet");
    source.on_timeout(RETRY_NS);
    assert_eq!(s_does(&mut source), [SourceAction::Send(H, ABORT)]);
    source.on_message(0, H, H_BOOT, &word.message());
    assert_eq!(
        s_does(&mut source),
        [resume(3), failed(MoveError::NodeDead)]
    );
    // The lost one was not dead at all: it is fenced.
    let mut target = open();
    target.on_message(0, H, H_BOOT, &word.message());
    assert_eq!(
        d_does(&mut target),
        [TargetAction::Discard, TargetAction::Finished]
    );
    assert!(matches!(
        home.accept_effect(D, D_BOOT, 2, P, 1).admission,
        Admission::Refused { epoch: 3, .. }
    ));
}

#[test]
fn committed_suspicion_may_hand_back_but_never_ends() {
    let mut home = home_committed();
    assert!(matches!(
        home.clone().owner_suspected(D, D_BOOT),
        LostOutcome::HandBack(_)
    ));
    home.accept_effect(D, D_BOOT, 2, P, 1);
    assert_eq!(home.owner_suspected(D, D_BOOT), LostOutcome::Unaffected);
}

// Row 4: after the first effect.

#[test]
fn after_an_effect_a_lost_target_ends_the_process() {
    let mut home = home_committed();
    home.accept_effect(D, D_BOOT, 2, P, 1);
    assert_eq!(home.owner_lost(0, D, D_BOOT, false), LostOutcome::Ended);
    assert_eq!(
        home.copies().collect::<Vec<_>>(),
        [(D, D_BOOT), (S, S_BOOT)]
    );

    let dead = [SourceAction::Forget, failed(MoveError::NodeDead)];
    let mut source = committed();
    source.on_message(0, H, H_BOOT, &RELEASE);
    assert_eq!(s_does(&mut source), [SourceAction::MayDrop]);
    source.on_message(0, H, H_BOOT, &decision(3, S, S_BOOT));
    assert_eq!(
        s_does(&mut source),
        [],
        "released: it never runs here again"
    );
    source.on_peer_lost(0, D, D_BOOT);
    assert_eq!(s_does(&mut source), dead);

    // The other order: the release was still under way.
    let mut source = committed();
    source.on_peer_lost(0, D, D_BOOT);
    s_does(&mut source);
    source.on_message(0, H, H_BOOT, &RELEASE);
    assert_eq!(s_does(&mut source)[1..], dead);
}

// Time.

#[test]
fn the_source_waits_two_seconds_for_room() {
    let mut source = offered();
    source.on_timeout(OFFER_TIMEOUT_NS - 1);
    assert_eq!(s_does(&mut source), [], "not due");
    source.on_timeout(OFFER_TIMEOUT_NS);
    let told = SourceAction::Send(D, withdrawn());
    assert_eq!(s_does(&mut source), [told, failed(MoveError::TimedOut)]);
    source.on_message(0, D, D_BOOT, &admit());
    assert_eq!(s_does(&mut source), [], "too late");
}

#[test]
fn a_freeze_takes_a_second_at_most() {
    let mut source = freezing();
    assert_eq!(source.poll_timeout(), Some(FREEZE_TIMEOUT_NS));
    source.on_timeout(FREEZE_TIMEOUT_NS);
    let told = SourceAction::Send(D, withdrawn());
    assert_eq!(
        s_does(&mut source),
        [told, resume(1), failed(MoveError::TimedOut)]
    );
    assert!(!source.freezing(), "its image must not go out now");
}

#[test]
fn the_target_keeps_room_for_longer_than_the_source_tries() {
    const { assert!(ADMIT_TIMEOUT_NS > OFFER_TIMEOUT_NS + FREEZE_TIMEOUT_NS) };
    let mut target = admitted();
    target.on_timeout(ADMIT_TIMEOUT_NS);
    let told = TargetAction::Send(S, DISCARDED);
    assert_eq!(
        d_does(&mut target),
        [told, TargetAction::Discard, TargetAction::Finished]
    );
}

// Pages that travel while the process runs.

fn copying() -> Source {
    let mut source = offered().keeps_to(Plan {
        copies: true,
        freeze_ns: 7,
        freeze_by: 100,
    });
    source.on_message(0, D, D_BOOT, &admit());
    assert_eq!(s_does(&mut source), [SourceAction::Copy]);
    assert_eq!(source.state(), SourceState::Copying);
    source
}

#[test]
fn who_copies_first_is_stopped_when_enough_is_copied() {
    let mut source = copying();
    assert!(!source.freezing(), "it runs");
    assert_eq!(source.poll_timeout(), Some(100));
    source.copied(50);
    assert_eq!(s_does(&mut source), [SourceAction::Freeze]);
    assert_eq!(source.poll_timeout(), Some(57));
    source.copied(51);
    assert_eq!(s_does(&mut source), [], "it is stopped once");
    source.on_timeout(57);
    let reason = MoveError::Bound("it would have stood still for longer than allowed".into());
    let resumed = SourceAction::Resume {
        epoch: 1,
        poke: false,
    };
    let over = SourceAction::Finished(Err(reason));
    assert_eq!(
        s_does(&mut source),
        [SourceAction::Send(D, withdrawn()), resumed, over]
    );
}

#[test]
fn what_has_not_left_in_time_or_is_not_wanted_runs_on() {
    for why in ["late", "cancelled", "refused", "silent", "ended"] {
        let mut source = copying();
        let reason = match why {
            "late" => {
                source.on_timeout(100);
                MoveError::Bound("it had not left in the time allowed".into())
            }
            "cancelled" => {
                source.cancel(1, MoveError::Aborted);
                MoveError::Aborted
            }
            "refused" => {
                source.on_message(1, D, D_BOOT, &refused(MoveError::NodeFull));
                MoveError::NodeFull
            }
            "silent" => {
                source.on_peer_silent(1, D);
                MoveError::NodeDead
            }
            _ => {
                source.body_gone(1);
                MoveError::Gone
            }
        };
        // Nothing was stopped, so nothing is resumed.
        assert_eq!(
            s_does(&mut source),
            [
                SourceAction::Send(D, withdrawn()),
                SourceAction::Finished(Err(reason))
            ],
            "{why}"
        );
    }
}

#[test]
fn room_is_kept_as_long_as_something_comes() {
    let mut target = Target::new(0, (D, D_BOOT), S, S_BOOT, &offer());
    d_does(&mut target);
    target.heard(1000);
    assert_eq!(target.poll_timeout(), Some(1000 + ADMIT_TIMEOUT_NS));
    target.on_timeout(ADMIT_TIMEOUT_NS);
    assert_eq!(d_does(&mut target), [], "not yet");
}

// Races and refusals.

#[test]
fn abort_and_commit_whoever_comes_first() {
    let mut source = frozen();
    source.cancel(0, MoveError::Aborted);
    assert_eq!(s_does(&mut source), [SourceAction::Send(H, ABORT)]);
    source.cancel(0, MoveError::Aborted);
    assert_eq!(s_does(&mut source), [], "asked once");
    let mut late = source.clone();

    let mut home = home_committed();
    let word = home.abort(S, S_BOOT, 1);
    assert!(!word.granted);
    late.on_message(0, H, H_BOOT, &word.message());
    assert_eq!(s_does(&mut late), [SourceAction::StartPush]);

    source.on_message(0, H, H_BOOT, &decision(2, S, S_BOOT));
    assert_eq!(s_does(&mut source), [resume(2), failed(MoveError::Aborted)]);
    let mut target = waiting();
    target.on_message(0, H, H_BOOT, &decision(2, S, S_BOOT));
    let told = TargetAction::Send(S, DISCARDED);
    assert_eq!(
        d_does(&mut target),
        [told, TargetAction::Discard, TargetAction::Finished]
    );
}

#[test]
fn questions_asked_twice_are_answered_alike() {
    let mut home = home();
    let first = commits(&mut home, (D, D_BOOT), 1, (S, S_BOOT));
    assert_eq!(commits(&mut home, (D, D_BOOT), 1, (S, S_BOOT)), first);
    let stranger = commits(&mut home, (H, H_BOOT), 1, (S, S_BOOT));
    assert_eq!((stranger.owner, stranger.granted), (D, false));
    assert_eq!(home.abort(S, S_BOOT, 1).epoch, 2, "nothing changes");
    // No second move before the first has shown an effect.
    let early = commits(&mut home, (H, H_BOOT), 2, (D, D_BOOT));
    assert_eq!((early.epoch, early.granted), (2, false));
    home.accept_effect(D, D_BOOT, 2, P, 1);
    assert!(commits(&mut home, (H, H_BOOT), 2, (D, D_BOOT)).granted);
}

#[test]
fn home_gives_nothing_to_who_comes_without_the_sources_word() {
    let mut home = home();
    let wanted = passage((D, D_BOOT), 1, (S, S_BOOT));
    assert_eq!(home.commit(&wanted, Permit::Lacking), None);
    assert_eq!(home.gate().owner(), S);
    // Nor of an epoch that has not been, whoever says so.
    for ahead in [2, 3, u64::MAX] {
        let wanted = passage((D, D_BOOT), ahead, (S, S_BOOT));
        assert_eq!(home.commit(&wanted, Permit::Given), None);
    }
    assert!(commits(&mut home, (D, D_BOOT), 1, (S, S_BOOT)).granted);
    assert_eq!(home.commit(&wanted, Permit::Lacking), None, "nor again");
}

#[test]
fn a_copy_that_home_knows_no_image_of_is_dropped() {
    let mut target = waiting();
    let lost = Message::Lost { pid: P, epoch: 1 };
    target.on_message(0, H, H_BOOT, &lost);
    let dropped = [TargetAction::Discard, TargetAction::Finished];
    assert_eq!(d_does(&mut target), dropped);
}

#[test]
fn a_ticket_names_who_was_asked_in_the_boot_that_has_answered() {
    let mut source = Source::new(0, P, 1, (S, S_BOOT), H, D, offer());
    assert_eq!(source.passage(), None);
    source.on_message(0, D, D_BOOT, &admit());
    let said = passage((D, D_BOOT), 1, (S, S_BOOT));
    assert_eq!(source.passage(), Some(said));
}

/// Two rules that others cover, so that no run of `tools/model` misses them.
#[test]
fn home_grants_only_what_the_owner_sent_and_the_target_takes_only_its_own_epoch() {
    let mut home = home();
    for (source, boot) in [(D, D_BOOT), (S, BootId(21))] {
        let word = commits(&mut home, (H, H_BOOT), 1, (source, boot));
        assert_eq!((word.epoch, word.owner, word.granted), (1, S, false));
    }
    let mut target = waiting();
    target.on_message(0, H, H_BOOT, &decision(3, D, D_BOOT));
    let told = TargetAction::Send(S, DISCARDED);
    let dropped = [told, TargetAction::Discard, TargetAction::Finished];
    assert_eq!(d_does(&mut target), dropped);
}

#[test]
fn what_is_late_of_a_try_that_failed_is_not_taken_for_the_next() {
    let again = Offer {
        attempt: A.next(),
        ..offer()
    };
    let mut source = Source::new(0, P, 1, (S, S_BOOT), H, D, again.clone());
    s_does(&mut source);
    for late in [admit(), refused(MoveError::NodeFull), DISCARDED] {
        source.on_message(0, D, D_BOOT, &late);
        assert_eq!(s_does(&mut source), [], "{late:?}");
    }
    assert_eq!(source.state(), SourceState::Offered);
    let mut target = Target::new(0, (D, D_BOOT), S, S_BOOT, &again);
    d_does(&mut target);
    assert!(!target.expects(S, S_BOOT, &image()));
    target.on_message(0, S, S_BOOT, &withdrawn());
    assert_eq!(d_does(&mut target), []);
    assert!(target.waits_for_image());
}

#[test]
fn a_bad_image_leaves_the_process_at_the_source() {
    let mut target = admitted();
    target.image_bad(0, MoveError::NodeFull);
    let refusal = refused(MoveError::NodeFull);
    assert_eq!(
        d_does(&mut target),
        [
            TargetAction::Send(S, refusal.clone()),
            TargetAction::Discard,
            TargetAction::Finished
        ]
    );
    let mut source = frozen();
    source.on_message(0, D, D_BOOT, &refusal);
    assert_eq!(s_does(&mut source), [SourceAction::Send(H, ABORT)]);
    source.on_message(0, H, H_BOOT, &decision(2, S, S_BOOT));
    assert_eq!(
        s_does(&mut source),
        [resume(2), failed(MoveError::NodeFull)]
    );
}

#[test]
fn the_end_of_the_process_ends_staged_and_frozen_copies() {
    let lost = Message::Lost { pid: P, epoch: 1 };
    let mut source = frozen();
    source.on_message(0, H, H_BOOT, &lost);
    assert_eq!(
        s_does(&mut source),
        [SourceAction::Forget, failed(MoveError::Gone)]
    );
    for mut target in [admitted(), waiting(), open()] {
        target.on_message(0, H, H_BOOT, &lost);
        assert_eq!(
            d_does(&mut target),
            [TargetAction::Discard, TargetAction::Finished]
        );
    }
    let mut source = offered();
    source.body_gone(0);
    let told = SourceAction::Send(D, withdrawn());
    assert_eq!(s_does(&mut source), [told, failed(MoveError::Gone)]);
}

#[test]
fn what_does_not_fit_is_ignored() {
    let mut source = frozen();
    let mut target = waiting();
    let (mut source_before, target_before) = (source.clone(), target.clone());
    let other = Pid::new(H, 6);
    let foreign = Message::Decision {
        pid: other,
        epoch: 2,
        owner: D,
        owner_boot: D_BOOT,
        poke: false,
    };
    let cases = [
        (H, H_BOOT, foreign),
        (S, S_BOOT, decision(2, D, D_BOOT)),
        (D, D_BOOT, decision(2, S, S_BOOT)),
        (H, H_BOOT, decision(1, S, S_BOOT)),
        (H, H_BOOT, decision(0, D, D_BOOT)),
        (D, D_BOOT, RELEASE),
        (H, H_BOOT, Message::Release { pid: P, epoch: 1 }),
        (S, S_BOOT, Message::Lost { pid: P, epoch: 9 }),
        (H, H_BOOT, Message::Lost { pid: P, epoch: 0 }),
        (H, H_BOOT, DISCARDED),
        (S, BootId(21), PUSH_END),
        (S, S_BOOT, withdrawn()),
        (D, D_BOOT, admit()),
    ];
    for (from, boot, message) in cases {
        source.on_message(0, from, boot, &message);
        target.on_message(0, from, boot, &message);
        assert_eq!((&source, &target), (&source_before, &target_before));
    }
    // A decision that names another boot of this node is somebody else's.
    source_before.on_message(0, H, H_BOOT, &decision(2, S, BootId(21)));
    assert!(!s_does(&mut source_before).contains(&resume(2)));
    target.on_message(0, H, H_BOOT, &decision(2, D, BootId(32)));
    assert!(d_does(&mut target).contains(&TargetAction::Discard));
    let mut admitted = admitted();
    let mut wrong = image();
    wrong.source_boot = BootId(21);
    assert!(!admitted.expects(S, S_BOOT, &wrong));
    assert!(!admitted.expects(D, D_BOOT, &image()));
    admitted.on_message(0, H, H_BOOT, &decision(2, D, D_BOOT));
    assert_eq!(d_does(&mut admitted), [], "no effects without an image");
}

#[test]
fn tombstones_refuse_what_was_held() {
    let mut tombstones = Tombstones::new(2);
    let other = Pid::new(S, 1);
    assert!(tombstones.is_empty() && tombstones.allows(P, 1));
    tombstones.record(P, 5);
    tombstones.record(P, 3);
    assert!(!tombstones.allows(P, 5) && tombstones.allows(P, 6));
    tombstones.record(other, 1);
    tombstones.record(P, 6);
    tombstones.record(Pid::new(S, 2), 1);
    assert_eq!(tombstones.len(), 2);
    assert!(tombstones.allows(other, 1), "the oldest was forgotten");
    assert!(!tombstones.allows(P, 6));
    tombstones.home_lost(H);
    assert!(tombstones.allows(P, 1) && !tombstones.allows(Pid::new(S, 2), 1));
}
