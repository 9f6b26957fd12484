//! The options of prctl(2) but for the name: home keeps them.
//!
//! Law: an option that is not kept is refused with EINVAL; none is accepted and forgotten.

use crate::dispatch::{CALL_OPTION, LocalCall};
use crate::wait::Stop;

const PR_GET_PDEATHSIG: u64 = 2;
const PR_GET_TSC: u64 = 25;
const PR_GET_CHILD_SUBREAPER: u64 = 37;
const PR_GET_TID_ADDRESS: u64 = 40;

/// Any option: home answers, and what is written to memory is written here.
pub(super) fn option(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [option, value, third, fourth, fifth, _] = call.args;
    let option = u64::from(option as u32);
    if option == PR_GET_TID_ADDRESS {
        let word = call.thread().clear_tid;
        call.write(value, &word.to_le_bytes())?;
        return Ok(0);
    }
    let writes = matches!(
        option,
        PR_GET_PDEATHSIG | PR_GET_TSC | PR_GET_CHILD_SUBREAPER
    );
    if writes {
        call.make_writable(value, 4)?;
    }
    let answer = call.ask_home(CALL_OPTION, [option, value, third, fourth, fifth, 0])?;
    if writes {
        call.write(value, &(answer as u32).to_le_bytes())?;
        return Ok(0);
    }
    Ok(answer)
}
