//! Nodes that lie: random and chosen messages to a node with processes that must not notice.
