//! What a node of a cluster with keys is given: the cluster's key, its own, and who the others are.
//!
//! Law: a node's file has one secret that is its own, and of the other nodes only what everybody may know. A file
//! is accepted or refused as a whole.

use crate::cipher::Suite;
use crate::key::{ClusterKey, KEY_LEN, NodeSecret, from_hex};
use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt::{self, Write};
use wire::NodeId;
use zeroize::Zeroizing;

/// Nodes in a roster at most.
pub const ROSTER_MAX: usize = 4096;
/// Bytes of a node's file at most.
pub const FILE_MAX: usize = (ROSTER_MAX + 8) * 80;
/// How it begins.
const TITLE: &str = "dunlin node key 1";

/// A node's keys, and those by which it knows the others.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub(crate) suite: Suite,
    pub(crate) cluster: ClusterKey,
    pub(crate) node: NodeId,
    pub(crate) secret: NodeSecret,
    pub(crate) roster: BTreeMap<NodeId, [u8; KEY_LEN]>,
}

/// Why a file is none that a node can be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadFile {
    /// It does not begin like one.
    Title,
    /// Nobody knows what is meant by this line, or it is said twice.
    Line(usize),
    /// The suite, the cluster's key, the node's own or its place in the roster is lacking.
    Incomplete,
    /// The roster has another key for the node than the one that belongs to its own.
    Mismatch,
}

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadFile::Title => write!(f, "it does not begin with \"{TITLE}\""),
            BadFile::Line(number) => write!(f, "line {number} means nothing"),
            BadFile::Incomplete => f.write_str("it is not whole"),
            BadFile::Mismatch => f.write_str("its node is another one in its roster"),
        }
    }
}

fn key(word: &str) -> Option<[u8; KEY_LEN]> {
    from_hex(word.as_bytes()).filter(|key| *key != [0; KEY_LEN])
}

fn number(word: &str) -> Option<NodeId> {
    let node = NodeId(word.parse().ok()?);
    node.is_valid().then_some(node)
}

/// Keeps what is said, if it is said for the first time.
fn once<T>(place: &mut Option<T>, value: Option<T>) -> Option<()> {
    (place.is_none() && value.is_some()).then(|| *place = value)
}

impl Credentials {
    /// Reads a node's file ([`Credentials::to_text`]).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(file: &[u8]) -> Result<Credentials, BadFile> {
        let text = core::str::from_utf8(file).map_err(|_| BadFile::Title)?;
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return Err(BadFile::Title);
        }
        let (mut suite, mut cluster, mut own) = (None, None, None);
        let mut roster = BTreeMap::new();
        for (line, at) in lines.zip(2..) {
            let mut words = line.split(' ');
            let mut word = || words.next().unwrap_or_default();
            let said = match word() {
                "suite" => once(&mut suite, Suite::named(word())),
                "cluster" => once(&mut cluster, key(word())),
                "node" => once(&mut own, number(word()).zip(key(word()))),
                "roster" if roster.len() < ROSTER_MAX => {
                    let entry = number(word()).zip(key(word()));
                    entry.and_then(|(node, key)| match roster.insert(node, key) {
                        None => Some(()),
                        Some(_) => None,
                    })
                }
                _ => None,
            };
            if said.is_none() || words.next().is_some() {
                return Err(BadFile::Line(at));
            }
        }
        let (Some(suite), Some(cluster), Some((node, secret))) = (suite, cluster, own) else {
            return Err(BadFile::Incomplete);
        };
        let secret = NodeSecret(Zeroizing::new(secret));
        let public = roster.get(&node).ok_or(BadFile::Incomplete)?;
        if *public != secret.public() {
            return Err(BadFile::Mismatch);
        }
        Ok(Credentials {
            suite,
            cluster: ClusterKey(Zeroizing::new(cluster)),
            node,
            secret,
            roster,
        })
    }

    /// What [`Credentials::parse`] reads: a line for each key.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |words: fmt::Arguments<'_>, key: &[u8; KEY_LEN]| {
            let _a_string_takes_all = text.write_fmt(words);
            for byte in key {
                let _a_string_takes_all = write!(text, "{byte:02x}");
            }
            text.push('\n');
        };
        let suite = self.suite.name();
        line(
            format_args!("{TITLE}\nsuite {suite}\ncluster "),
            &self.cluster.0,
        );
        line(format_args!("node {} ", self.node.0), &self.secret.0);
        for (node, key) in &self.roster {
            line(format_args!("roster {} ", node.0), key);
        }
        text
    }

    /// The suite of the cluster.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Whose they are.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// How many nodes the cluster may have.
    pub fn nodes(&self) -> usize {
        self.roster.len()
    }
}
