//! Becoming somebody else: set*id(2) and what asks for all ids.
//!
//! Law: the rules are checked against the body's copy, home is told, and then the copy changes; so
//! both always say the same. User 0 may become anybody, others only what they already are
//! (credentials(7)).

use crate::body::Ids;
use crate::dispatch::{CALL_SET_IDS, LocalCall};
use crate::wait::Stop;
use abi::Errno;

/// "Leave this as it is."
const SAME: u32 = u32::MAX;

/// Real, effective and saved.
type Three = [u32; 3];

fn users(ids: &Ids) -> Three {
    [ids.uid, ids.euid, ids.suid]
}

fn groups(ids: &Ids) -> Three {
    [ids.gid, ids.egid, ids.sgid]
}

/// Tells home, and then changes the body's copy.
fn change(call: &mut LocalCall<'_>, users: Three, groups: Three) -> Result<u64, Stop> {
    let [uid, euid, suid] = users;
    let [gid, egid, sgid] = groups;
    let args = [uid, euid, suid, gid, egid, sgid].map(u64::from);
    call.ask_home(CALL_SET_IDS, args)?;
    call.body().ids = Ids {
        uid,
        euid,
        suid,
        gid,
        egid,
        sgid,
    };
    Ok(0)
}

/// setuid(2) and setgid(2).
fn set_one(now: Three, privileged: bool, id: u32) -> Result<Three, Errno> {
    if id == SAME {
        return Err(Errno::EINVAL);
    }
    if privileged {
        return Ok([id; 3]);
    }
    if id == now[0] || id == now[2] {
        return Ok([now[0], id, now[2]]);
    }
    Err(Errno::EPERM)
}

/// setreuid(2) and setregid(2).
fn set_two(now: Three, privileged: bool, real: u32, effective: u32) -> Result<Three, Errno> {
    let real_allowed = real == SAME || real == now[0] || real == now[1];
    let effective_allowed = effective == SAME || now.contains(&effective);
    let allowed = privileged || (real_allowed && effective_allowed);
    if !allowed {
        return Err(Errno::EPERM);
    }
    let pick = |new: u32, old: u32| if new == SAME { old } else { new };
    let (new_real, new_effective) = (pick(real, now[0]), pick(effective, now[1]));
    let saves = real != SAME || (effective != SAME && effective != now[0]);
    let saved = if saves { new_effective } else { now[2] };
    Ok([new_real, new_effective, saved])
}

/// setresuid(2) and setresgid(2).
fn set_three(now: Three, privileged: bool, new: Three) -> Result<Three, Errno> {
    let allowed = new.iter().all(|id| *id == SAME || now.contains(id));
    if !privileged && !allowed {
        return Err(Errno::EPERM);
    }
    Ok(core::array::from_fn(|at| {
        if new[at] == SAME { now[at] } else { new[at] }
    }))
}

fn set_users(
    call: &mut LocalCall<'_>,
    rule: impl FnOnce(Three, bool) -> Result<Three, Errno>,
) -> Result<u64, Stop> {
    let ids = call.body().ids;
    let new = rule(users(&ids), ids.euid == 0)?;
    change(call, new, groups(&ids))
}

fn set_groups(
    call: &mut LocalCall<'_>,
    rule: impl FnOnce(Three, bool) -> Result<Three, Errno>,
) -> Result<u64, Stop> {
    let ids = call.body().ids;
    let new = rule(groups(&ids), ids.euid == 0)?;
    change(call, users(&ids), new)
}

/// setuid(2).
pub fn setuid(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let id = call.args[0] as u32;
    set_users(call, |now, privileged| set_one(now, privileged, id))
}

/// setgid(2).
pub fn setgid(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let id = call.args[0] as u32;
    set_groups(call, |now, privileged| set_one(now, privileged, id))
}

/// setreuid(2).
pub fn setreuid(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [real, effective, ..] = call.args.map(|id| id as u32);
    set_users(call, |now, privileged| {
        set_two(now, privileged, real, effective)
    })
}

/// setregid(2).
pub fn setregid(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [real, effective, ..] = call.args.map(|id| id as u32);
    set_groups(call, |now, privileged| {
        set_two(now, privileged, real, effective)
    })
}

/// setresuid(2).
pub fn setresuid(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [real, effective, saved, ..] = call.args.map(|id| id as u32);
    set_users(call, |now, privileged| {
        set_three(now, privileged, [real, effective, saved])
    })
}

/// setresgid(2).
pub fn setresgid(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [real, effective, saved, ..] = call.args.map(|id| id as u32);
    set_groups(call, |now, privileged| {
        set_three(now, privileged, [real, effective, saved])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_becomes_anybody_and_does_not_come_back() {
        assert_eq!(set_one([0; 3], true, 7), Ok([7; 3]));
        assert_eq!(set_one([7; 3], false, 0), Err(Errno::EPERM));
        assert_eq!(set_one([7, 0, 0], false, 0), Ok([7, 0, 0]));
        assert_eq!(set_one([0; 3], true, SAME), Err(Errno::EINVAL));
    }

    #[test]
    fn setreuid_saves_the_effective_id_when_the_real_one_is_given() {
        assert_eq!(set_two([0; 3], true, 5, 6), Ok([5, 6, 6]));
        assert_eq!(set_two([5, 6, 6], false, 6, 5), Ok([6, 5, 5]));
        assert_eq!(set_two([5, 6, 6], false, SAME, 9), Err(Errno::EPERM));
        assert_eq!(set_two([5, 6, 7], false, 7, SAME), Err(Errno::EPERM));
        assert_eq!(set_two([5, 6, 7], false, SAME, 5), Ok([5, 5, 7]));
    }

    #[test]
    fn setresuid_permutes() {
        assert_eq!(set_three([1, 2, 3], false, [3, 1, SAME]), Ok([3, 1, 3]));
        assert_eq!(
            set_three([1, 2, 3], false, [4, SAME, SAME]),
            Err(Errno::EPERM)
        );
    }
}
