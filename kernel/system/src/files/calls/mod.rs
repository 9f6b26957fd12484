//! The system calls on files, one function each, with the names and arguments Linux gives them.
