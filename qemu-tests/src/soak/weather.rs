//! What a cluster has to stand: deaths, bad links, cuts and pauses, from a seed.
//!
//! Law: what happens and when follows from the seed and the options alone. Deaths, bad links and the rest have a sequence
//! each, so that they meet in all ways; when the weather ends, everything is undone.

use crate::lab::Action;
use std::collections::VecDeque;
use std::time::Duration;
use switch::{Chance, Faults, Random};

/// How long a node is down at least. Its console is read to its end by then.
const DOWN_MS: u64 = 300;

/// The weather from its beginning on.
#[derive(Debug)]
pub(super) struct Weather {
    nodes: u64,
    kill_every: Duration,
    random: Random,
    due: VecDeque<(Duration, Action)>,
    next_kill: Duration,
    next_links: Duration,
    next_harm: Duration,
}

impl Weather {
    pub(super) fn new(nodes: usize, kill_every: Duration, seed: u64, now: Duration) -> Weather {
        Weather {
            nodes: nodes as u64,
            kill_every,
            random: Random::new(seed),
            due: VecDeque::new(),
            next_kill: now + kill_every / 2,
            next_links: now,
            next_harm: now + Duration::from_secs(2),
        }
    }

    /// What happens next, until nothing more does now.
    pub(super) fn poll(&mut self, now: Duration) -> Option<Action> {
        if now >= self.next_kill {
            self.kill(now);
        }
        if now >= self.next_links {
            self.change_links(now);
        }
        if now >= self.next_harm {
            self.harm(now);
        }
        if self.due.front().is_some_and(|(at, _)| *at <= now) {
            return self.due.pop_front().map(|(_, action)| action);
        }
        None
    }

    /// What makes everything good again, but for nodes that are down.
    pub(super) fn ends(&self) -> Vec<Action> {
        let nodes = 1..=self.nodes as usize;
        let mut actions = vec![Action::Heal, Action::Faults(Faults::default())];
        actions.extend(nodes.map(Action::Continue));
        actions
    }

    fn at(&mut self, at: Duration, action: Action) {
        let place = self.due.partition_point(|(other, _)| *other <= at);
        self.due.insert(place, (at, action));
    }

    fn node(&mut self) -> usize {
        1 + self.random.below(self.nodes) as usize
    }

    fn pair(&mut self) -> (usize, usize) {
        let one = self.node();
        let other = self.random.below(self.nodes - 1) as usize;
        (one, (one + other) % self.nodes as usize + 1)
    }

    fn ms(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.random.below(to - from + 1))
    }

    fn kill(&mut self, now: Duration) {
        let node = self.node();
        self.next_kill = now + self.kill_every;
        let down = self.ms(DOWN_MS, 4000);
        self.at(now, Action::Kill(node));
        self.at(now + down, Action::Start(node));
    }

    fn change_links(&mut self, now: Duration) {
        let random = &mut self.random;
        let mut percent = |to: u64| Chance::percent(random.below(to + 1) as u32);
        let faults = Faults {
            loss: percent(10),
            duplicate: percent(10),
            reorder: percent(10),
            delay_us: self.random.below(2000) as u32,
            jitter_us: self.random.below(2000) as u32,
            rate_mbit: 0,
        };
        let good = self.random.below(3) == 0;
        let faults = if good { Faults::default() } else { faults };
        self.next_links = now + self.ms(2000, 8000);
        self.at(now, Action::Faults(faults));
    }

    /// A cut of some kind, or a node that stands still; then a while of nothing.
    fn harm(&mut self, now: Duration) {
        let over = now + self.ms(200, 7000);
        match self.random.below(5) {
            0 => {
                let (from, to) = self.pair();
                self.at(now, Action::Cut(from, to));
            }
            1 => {
                let (from, to) = self.pair();
                self.at(now, Action::Cut(from, to));
                self.at(now, Action::Cut(to, from));
            }
            kind @ (2 | 3) => {
                // One node hears nobody, or is heard by nobody, or both.
                let node = self.node();
                let both = self.random.below(2) == 0;
                for other in (1..=self.nodes as usize).filter(|other| *other != node) {
                    if kind == 2 || both {
                        self.at(now, Action::Cut(other, node));
                    }
                    if kind == 3 || both {
                        self.at(now, Action::Cut(node, other));
                    }
                }
            }
            _ => {
                let node = self.node();
                self.at(now, Action::Pause(node));
                self.at(over, Action::Continue(node));
            }
        }
        self.at(over, Action::Heal);
        self.next_harm = over + self.ms(500, 4000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that happens in some minutes, looked at every 50 ms.
    fn played(seed: u64, minutes: u64) -> Vec<(Duration, Action)> {
        let mut weather = Weather::new(5, Duration::from_secs(60), seed, Duration::ZERO);
        let mut all = Vec::new();
        for beat in 0..minutes * 1200 {
            let now = Duration::from_millis(beat * 50);
            while let Some(action) = weather.poll(now) {
                all.push((now, action));
            }
        }
        all
    }

    #[test]
    fn a_seed_is_a_weather_and_another_another() {
        assert_eq!(played(1, 10), played(1, 10));
        assert_ne!(played(1, 10), played(2, 10));
    }

    #[test]
    fn every_kind_of_harm_comes_and_every_node_that_dies_boots() {
        let all = played(3, 60);
        let count =
            |wanted: fn(&Action) -> bool| all.iter().filter(|(_, action)| wanted(action)).count();
        let kills = count(|action| matches!(action, Action::Kill(_)));
        assert_eq!(kills, 60);
        assert!(count(|action| matches!(action, Action::Start(_))) >= kills - 1);
        let pauses = count(|action| matches!(action, Action::Pause(_)));
        assert!(pauses > 20 && count(|action| matches!(action, Action::Continue(_))) >= pauses - 1);
        let cuts = all.iter().filter_map(|(_, action)| match action {
            Action::Cut(from, to) => Some((from, to)),
            _ => None,
        });
        for (from, to) in cuts {
            assert!(from != to && (1..=5).contains(from) && (1..=5).contains(to));
        }
        for node in 1..=5 {
            assert!(
                all.iter().any(|(_, action)| *action == Action::Kill(node)),
                "{node}"
            );
        }
    }
}
