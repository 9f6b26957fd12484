//! Who a thread is, as its home knows it.
//!
//! Law: home's word on credentials is the one that counts; the thread has a copy for the calls that
//! only ask. The rules are those of `crate::credentials`.

use crate::body::LIMITS;
use crate::credentials::{Ids, SETGID};
use crate::dispatch::HomeCall;
use crate::wait::Stop;
use abi::Errno;
use alloc::vec::Vec;

/// `NGROUPS_MAX`.
const GROUPS_MAX: u64 = 65_536;
/// Groups that fit into one call.
const GROUPS_CARRIED: u64 = crate::dispatch::CHUNK / 4;

/// getgroups(2).
pub fn getgroups(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let room = call.args[0] as i32;
    let count = call.thread().credentials.groups.len();
    if room < 0 || (room > 0 && (room as usize) < count) {
        return Err(Errno::EINVAL.into());
    }
    if room > 0 {
        let bytes = call
            .thread()
            .credentials
            .groups
            .iter()
            .flat_map(|id| id.to_le_bytes());
        let bytes = bytes.collect();
        call.outputs.set(1, bytes);
    }
    Ok(count as u64)
}

/// setgroups(2).
pub fn setgroups(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let count = u64::from(call.args[0] as u32);
    if !call.ids().has(SETGID) {
        return Err(Errno::EPERM.into());
    }
    if count > GROUPS_MAX.min(GROUPS_CARRIED) {
        return Err(Errno::EINVAL.into());
    }
    call.check_input(1)?;
    let (groups, _) = call.input(1).as_chunks::<4>();
    let mut groups: Vec<u32> = groups.iter().map(|id| u32::from_le_bytes(*id)).collect();
    // Linux keeps them sorted, and tells them so.
    groups.sort_unstable();
    call.credentials().groups = groups;
    Ok(0)
}

/// Kind of [`set_ids`]: real, effective and saved ids.
pub const CHANGE_IDS: u64 = 0;
/// Those of files.
pub const CHANGE_FILE_IDS: u64 = 1;
/// Capabilities.
pub const CHANGE_CAPABILITIES: u64 = 2;

/// Other credentials are wished for, of a kind, in buffer 1; what has come of it is buffer 2 of the
/// answer.
pub fn set_ids(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let wish = Ids::from_bytes(call.input(1)).ok_or(Errno::EIO)?;
    let kind = call.args[0];
    let own = call.credentials();
    let old = own.ids;
    match kind {
        CHANGE_IDS => {
            if wish.groups() != old.groups() {
                own.ids.set_groups(wish.groups());
            }
            if wish.users() != old.users() {
                own.set_users(wish.users());
            }
        }
        CHANGE_FILE_IDS => own.set_file_ids(wish.fsuid, wish.fsgid),
        CHANGE_CAPABILITIES if wish.inheritable & !(old.inheritable | own.bounding) != 0 => {
            return Err(Errno::EPERM.into());
        }
        _ => {
            // The body has not heard of what prctl(2) has made ambient.
            let ambient = old.ambient & wish.permitted & wish.inheritable;
            own.ids = Ids { ambient, ..wish };
        }
    }
    let new = own.ids;
    if new.hides_from(&old) {
        call.home().options.hide();
    }
    call.outputs.set(2, new.to_bytes());
    Ok(0)
}

/// The credentials of any thread, in buffer 2 of the answer.
pub fn capabilities(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let tid = call.args[0] as u32;
    let pid = call.system.process_at_home(tid);
    let home = call.system.homes.get(&pid).ok_or(Errno::ESRCH)?;
    let bytes = home.credentials_of(tid).ids.to_bytes();
    call.outputs.set(2, bytes);
    Ok(0)
}

/// A limit of the process is another now: `(which, soft, hard)`.
pub fn limit(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [which, soft, hard, ..] = call.args;
    let which = usize::try_from(which).ok().filter(|which| *which < LIMITS);
    call.home()
        .set_limit(which.ok_or(Errno::EINVAL)?, (soft, hard));
    Ok(0)
}
