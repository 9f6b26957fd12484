//! The code of the system calls, by place.
//!
//! Law: `local` sees the body, `home` the home part, `split` begins at the body and asks home; what
//! concerns files is in `crate::files::calls`.

pub mod home;
pub mod local;
pub mod split;
