//! Every interleaving of small runs, by the model checker `stateright`.
//!
//! Law: what is explored is the shipped machines, not a copy of them. A run is bounded by how often
//! each kind of thing may happen in it; deliveries and completions are free. Timers may fire at any
//! time. Wherever nothing is under way any more, the run is let come to rest and judged.

use crate::glue::Forgery;
use crate::mutant::Mutant;
use crate::world::{
    EXIT, HOME, HOSTS, LIAR, Lane, Observer, Promise, Seen, THREADS, WRITE, Word, World,
};
use stateright::{Model, Property};

/// What may happen in a run, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Budget {
    /// Moves.
    pub moves: u8,
    /// Calls that threads come to.
    pub calls: u8,
    /// The process ends by its own call, or by an operator's word at home.
    pub ends: u8,
    /// Signals that come to its home.
    pub signals: u8,
    /// Crashes, each with a new boot at once.
    pub crashes: u8,
    /// Whether the home may be what crashes.
    pub home_crashes: bool,
    /// Whether home has a disk with its journal.
    pub disk: bool,
    /// Suspicions, false ones included.
    pub suspicions: u8,
    /// Timers that fire, however early.
    pub timers: u8,
    /// Moves called off.
    pub cancels: u8,
    /// Messages lost.
    pub losses: u8,
    /// Messages that come once more, at any later time.
    pub doubles: u8,
    /// Messages that overtake those before them.
    pub swaps: u8,
    /// Claims of a node that was taken over and not given the process; then the cluster has keys.
    pub claims: u8,
    /// Guests that have waited for their home for too long.
    pub gives_up: u8,
    /// Whether the process is being born, away from home.
    pub birth: bool,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The next packet of a lane arrives.
    Deliver(Lane),
    /// It arrives, and will come again.
    Double(Lane),
    /// A packet that came already comes again.
    Again(usize),
    /// A packet that others were before arrives.
    Overtake(Lane, usize),
    /// The next packet of a lane is lost.
    Lose(Lane),
    /// Home completes a call.
    Complete(usize),
    /// The last page leaves a source.
    Push(usize),
    /// Home's disk has the next of what was noted.
    Flush,
    /// A thread at a host comes to a call.
    Call(usize, usize),
    /// A thread at a host ends the process.
    Exit(usize),
    /// The process is ended at home.
    Kill,
    /// A signal comes to its home.
    Signal,
    /// From a host to another.
    Move(usize, usize),
    /// A host crashes and boots again.
    Crash(usize, usize, Word),
    /// A host suspects another.
    Suspect(usize, usize),
    /// A host's next timer fires.
    Timer(usize),
    /// A move is called off.
    Cancel(usize),
    /// A node claims the process that has nothing to do with it.
    Claim(Forgery),
    /// A host gives a guest up whose home is away.
    GiveUp(usize),
}

/// Runs within a budget, of machines that lack a rule or none.
#[derive(Clone, Copy, Debug)]
pub struct Small {
    /// What is wrong on purpose.
    pub mutant: Mutant,
    /// What may happen.
    pub budget: Budget,
}

/// The cluster, and what may still happen.
pub type State = (World, Budget);

fn broken(observer: &Observer, promise: Promise) -> bool {
    observer
        .violation
        .is_some_and(|(which, _)| which == promise)
}

/// A property for each promise, and one for each thing that should be seen.
macro_rules! properties {
    ($($promise:ident)* ; $($seen:ident)*) => {
        vec![
            $(Property::always(Promise::$promise.name(), |_, (world, _): &State| {
                !broken(&world.observer, Promise::$promise)
            }),)*
            $(Property::sometimes(Seen::$seen.name(), |_, (world, _): &State| {
                world.observer.seen.have(Seen::$seen)
            }),)*
        ]
    };
}

impl Model for Small {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let keys = self.budget.claims > 0;
        let world = World::new(self.mutant, self.budget.disk, keys, self.budget.birth);
        vec![(world, self.budget)]
    }

    fn actions(&self, (world, left): &State, steps: &mut Vec<Step>) {
        if world.observer.violation.is_some() {
            return;
        }
        network_actions(world, left, steps);
        steps.extend(world.may_flush().then_some(Step::Flush));
        steps.extend((0..world.executing()).map(Step::Complete));
        let pushing = (0..HOSTS).filter(|host| world.pushes(*host));
        steps.extend(pushing.map(Step::Push));
        for host in 0..HOSTS {
            self.host_actions(world, left, host, steps);
        }
    }

    fn next_state(&self, (world, budget): &State, step: Step) -> Option<State> {
        let (mut next, mut left) = (world.clone(), *budget);
        spend(&mut left, step);
        perform(&mut next, step)?;
        if next == *world {
            return None;
        }
        if next.is_quiet() && next.observer.violation.is_none() {
            let mut rest = next.clone();
            rest.settle();
            next.observer.violation = rest.observer.violation;
        }
        Some((next, left))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties!(
            OneCopy Decision Stale Once Signals FailedMove NotLost Bystanders Suspicion Rest;
            Moved Failed Aborted HandedBack Fenced PagesLost Ended Repeated HeldBack
            SpeculationDropped SignalTaken Cancelled Adopted Inherited ClaimedInVain GivenUp
            Unborn
        )
    }
}

fn spend(left: &mut Budget, step: Step) {
    let count = match step {
        Step::Deliver(_) | Step::Again(_) | Step::Complete(_) | Step::Push(_) | Step::Flush => {
            return;
        }
        Step::Double(_) => &mut left.doubles,
        Step::Overtake(..) => &mut left.swaps,
        Step::Lose(_) => &mut left.losses,
        Step::Call(..) => &mut left.calls,
        Step::Exit(_) | Step::Kill => &mut left.ends,
        Step::Signal => &mut left.signals,
        Step::Move(..) => &mut left.moves,
        Step::Crash(..) => &mut left.crashes,
        Step::Suspect(..) => &mut left.suspicions,
        Step::Timer(_) => &mut left.timers,
        Step::Cancel(_) => &mut left.cancels,
        Step::Claim(_) => &mut left.claims,
        Step::GiveUp(_) => &mut left.gives_up,
    };
    *count -= 1;
}

/// Does it; `None` if there is nothing to do.
fn perform(world: &mut World, step: Step) -> Option<()> {
    match step {
        Step::Deliver(lane) => world.deliver(lane, 0),
        Step::Double(lane) => world.deliver_twice(lane),
        Step::Again(index) => world.deliver_stray(index),
        Step::Overtake(lane, index) => world.deliver(lane, index),
        Step::Lose(lane) => world.lose(lane),
        Step::Complete(index) => world.complete(index),
        Step::Push(host) => world.push(host),
        Step::Flush => world.flush(),
        Step::Call(host, thread) => world.act(host, thread, WRITE),
        Step::Exit(host) => world.act(host, 0, EXIT),
        Step::Kill => world.kill(),
        Step::Signal => world.signal(),
        Step::Move(host, target) => world.start_move(host, target),
        Step::Crash(host, keep, word) => world.reboot(host, keep, word),
        Step::Suspect(host, other) => world.silent(host, other),
        Step::Timer(host) => {
            let due = world.due(host)?;
            world.timeout(host, due);
        }
        Step::Cancel(host) => world.cancel_move(host),
        Step::Claim(forgery) => world.claim(LIAR, forgery),
        Step::GiveUp(host) => world.give_up(host),
    }
    world.keep();
    Some(())
}

fn network_actions(world: &World, left: &Budget, steps: &mut Vec<Step>) {
    for (lane, length) in world.busy_lanes() {
        steps.push(Step::Deliver(lane));
        if left.doubles > 0 && world.may_double(lane) {
            steps.push(Step::Double(lane));
        }
        if left.losses > 0 && world.is_message(lane, 0) {
            steps.push(Step::Lose(lane));
        }
        if left.swaps > 0 {
            // Nothing overtakes the news of a new boot, or what the link says itself.
            let firm = (0..length).find(|index| !world.is_message(lane, *index));
            let free = 1..firm.unwrap_or(length);
            let free = free.filter(|index| world.may_overtake(lane, *index));
            steps.extend(free.map(|index| Step::Overtake(lane, index)));
        }
    }
    steps.extend((0..world.strays()).map(Step::Again));
}

impl Small {
    fn host_actions(&self, world: &World, left: &Budget, host: usize, steps: &mut Vec<Step>) {
        if left.calls > 0 {
            let able = (0..THREADS).filter(|thread| world.may_call(host, *thread));
            steps.extend(able.map(|thread| Step::Call(host, thread)));
        }
        if left.ends > 0 && world.may_call(host, 0) {
            steps.push(Step::Exit(host));
        }
        if left.moves > 0 && world.may_move(host) {
            // The other hosts are alike: the first move from home goes to the second host.
            let first = left.moves == self.budget.moves && !self.budget.birth;
            let lies = |to: usize| to == LIAR && self.budget.claims > 0;
            let targets = (0..HOSTS).filter(|to| *to != host && (!first || *to == 1) && !lies(*to));
            steps.extend(targets.map(|to| Step::Move(host, to)));
        }
        if left.crashes > 0 && (host != HOME || self.budget.home_crashes) {
            for keep in [0, 1, 8] {
                steps.push(Step::Crash(host, keep, Word::InOrder));
            }
            steps.push(Step::Crash(host, 8, Word::Overtakes));
        }
        if left.suspicions > 0 && world.judges(host) {
            let others = (0..HOSTS).filter(|other| *other != host);
            steps.extend(others.map(|other| Step::Suspect(host, other)));
        }
        if left.timers > 0 && world.due(host).is_some() {
            steps.push(Step::Timer(host));
        }
        if left.gives_up > 0 && world.may_give_up(host) {
            steps.push(Step::GiveUp(host));
        }
        if left.cancels > 0 && world.is_source(host) {
            steps.push(Step::Cancel(host));
        }
        if host == HOME && world.has_record() {
            if left.claims > 0 {
                let forgeries = [Forgery::Nothing, Forgery::Overheard].into_iter();
                let made = forgeries.filter(|forgery| world.forged(LIAR, *forgery).is_some());
                steps.extend(made.map(Step::Claim));
            }
            if left.signals > 0 {
                steps.push(Step::Signal);
            }
            if left.ends > 0 {
                steps.push(Step::Kill);
            }
        }
    }
}
