//! Becoming somebody else: set*id(2), and capabilities.
//!
//! Law: the rules are checked against the thread's copy, home is told, and then the copy changes; so
//! both always say the same. Who has the capability may become anybody, others only what they already
//! are (credentials(7)).

use crate::calls::home::{CHANGE_CAPABILITIES, CHANGE_FILE_IDS, CHANGE_IDS};
use crate::credentials::{ALL, Ids, SETGID, SETPCAP, SETUID, WORDS};
use crate::dispatch::{CALL_CAPABILITIES, CALL_SET_IDS, LocalCall, result_of};
use crate::home::Request;
use crate::wait::Stop;
use abi::Errno;
use alloc::vec::Vec;

/// "Leave this as it is."
const SAME: u32 = u32::MAX;

/// Real, effective and saved.
type Three = [u32; 3];

/// Tells home, which knows what follows from it, and then changes the thread's copy.
fn change(call: &mut LocalCall<'_>, users: Three, groups: Three) -> Result<u64, Stop> {
    let mut wish = call.thread().ids;
    (wish.uid, wish.euid, wish.suid) = users.into();
    (wish.gid, wish.egid, wish.sgid) = groups.into();
    become_as(call, CHANGE_IDS, wish)
}

/// Asks home for other credentials, of this kind, and takes over what it answers.
fn become_as(call: &mut LocalCall<'_>, kind: u64, wish: Ids) -> Result<u64, Stop> {
    let answer = call.home(CALL_SET_IDS, |_| {
        let mut request = Request::plain(CALL_SET_IDS, [kind, 0, 0, 0, 0, 0]);
        request.inputs.set(1, wish.to_bytes());
        request.rooms[2] = (8 * WORDS) as u32;
        Ok(request)
    })?;
    let value = result_of(answer.value)?;
    let ids = answer.buffers.get(2).and_then(Ids::from_bytes);
    call.thread().ids = ids.ok_or(Errno::EIO)?;
    Ok(value)
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
    let ids = call.thread().ids;
    let new = rule(ids.users(), ids.has(SETUID))?;
    change(call, new, ids.groups())
}

fn set_groups(
    call: &mut LocalCall<'_>,
    rule: impl FnOnce(Three, bool) -> Result<Three, Errno>,
) -> Result<u64, Stop> {
    let ids = call.thread().ids;
    let new = rule(ids.groups(), ids.has(SETGID))?;
    change(call, ids.users(), new)
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

/// setfsuid(2): the user of files before it, whether or not it was changed.
pub fn setfsuid(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let mut wish = call.thread().ids;
    let before = wish.fsuid;
    match call.args[0] as u32 {
        SAME => return Ok(before.into()),
        user => wish.fsuid = user,
    }
    become_as(call, CHANGE_FILE_IDS, wish)?;
    Ok(before.into())
}

/// setfsgid(2): see [`setfsuid`].
pub fn setfsgid(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let mut wish = call.thread().ids;
    let before = wish.fsgid;
    match call.args[0] as u32 {
        SAME => return Ok(before.into()),
        group => wish.fsgid = group,
    }
    become_as(call, CHANGE_FILE_IDS, wish)?;
    Ok(before.into())
}

/// The header of capget(2): how many words a set has, and whose it is. An unknown version is told the
/// right one, which is no error for who gives no data.
fn capability_header(
    call: &mut LocalCall<'_>,
    has_data: bool,
) -> Result<Option<(usize, i32)>, Stop> {
    const VERSION_1: u32 = 0x1998_0330;
    const VERSION_2: u32 = 0x2007_1026;
    const VERSION_3: u32 = 0x2008_0522;
    let header = call.args[0];
    let bytes = call.read(header, 8)?;
    let word = |at: usize| u32::from_le_bytes(core::array::from_fn(|byte| bytes[at + byte]));
    let words = match word(0) {
        VERSION_1 => 1,
        VERSION_2 | VERSION_3 => 2,
        _ => {
            call.write(header, &VERSION_3.to_le_bytes())?;
            if has_data {
                return Err(Errno::EINVAL.into());
            }
            return Ok(None);
        }
    };
    Ok(Some((words, word(4) as i32)))
}

/// capget(2).
pub fn capget(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let data = call.args[1];
    let Some((words, pid)) = capability_header(call, data != 0)? else {
        return Ok(0);
    };
    if pid < 0 {
        return Err(Errno::EINVAL.into());
    }
    let own = pid == 0 || pid as u32 == call.tid;
    let ids = if own {
        call.thread().ids
    } else {
        let answer = call.home(CALL_CAPABILITIES, |_| {
            let mut request = Request::plain(CALL_CAPABILITIES, [pid as u64, 0, 0, 0, 0, 0]);
            request.rooms[2] = (8 * WORDS) as u32;
            Ok(request)
        })?;
        result_of(answer.value)?;
        let ids = answer.buffers.get(2).and_then(Ids::from_bytes);
        ids.ok_or(Errno::EIO)?
    };
    if data == 0 {
        return Ok(0);
    }
    let mut bytes = Vec::new();
    for word in 0..words {
        for set in [ids.effective, ids.permitted, ids.inheritable] {
            bytes.extend_from_slice(&((set >> (32 * word)) as u32).to_le_bytes());
        }
    }
    call.write(data, &bytes)?;
    Ok(0)
}

/// capset(2): of the caller only, and never more than it has.
pub fn capset(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let Some((words, pid)) = capability_header(call, true)? else {
        return Ok(0);
    };
    if pid != 0 && pid as u32 != call.tid {
        return Err(Errno::EPERM.into());
    }
    let bytes = call.read(call.args[1], words * 12)?;
    let mut sets = [0_u64; 3];
    for (at, word) in bytes.chunks_exact(4).enumerate() {
        let word = u32::from_le_bytes(word.try_into().unwrap_or_default());
        sets[at % 3] |= u64::from(word) << (at / 3 * 32);
    }
    let old = call.thread().ids;
    let [effective, permitted, inheritable] = sets.map(|set| set & ALL);
    let passes_on = old.inheritable | old.permitted;
    if effective & !permitted != 0
        || permitted & !old.permitted != 0
        || inheritable & !passes_on != 0 && !old.has(SETPCAP)
    {
        return Err(Errno::EPERM.into());
    }
    let wish = Ids {
        effective,
        permitted,
        inheritable,
        ambient: old.ambient & permitted & inheritable,
        ..old
    };
    become_as(call, CHANGE_CAPABILITIES, wish)
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
