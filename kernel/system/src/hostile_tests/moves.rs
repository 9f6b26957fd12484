//! Events in an unlucky order around a move.
