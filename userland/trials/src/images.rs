//! Malformed program images: what cannot be run says so, and nothing of it is left.
//!
//! Law: every image is a small program that is right, with some of its fields or bytes replaced. The
//! right one must run, so that the wrong ones are known to be looked at; a wrong one may be refused with
//! an errno of execve(2), may run, or may end by a signal, and nothing else.
//!
//! Layout: ELF-64 object file format, file header and program header.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use rt::process::{Ended, exec, start, wait_for};
use rt::raw::libc;

use crate::left::leaves_nothing;
use crate::random::Random;
use crate::{Doing, Verdict, numbers};

const PATH: &str = "/tmp/hostile-image";
const BASE: u64 = 0x40_0000;
/// `mov edi, 42; mov eax, 231; syscall`
const CODE: [u8; 12] = [0xbf, 42, 0, 0, 0, 0xb8, 231, 0, 0, 0, 0x0f, 0x05];
/// The status of a child whose exec was refused.
const REFUSED: i32 = 99;

/// `images SEED COUNT`
pub(crate) fn run(words: &[String]) -> Verdict {
    let ([seed, count], _) = numbers::<2>(words)?;
    let mut random = Random::of(seed, 0);
    match attempt(&right())? {
        Ended::Exited(42) => {}
        ended => return Err(format!("the right image ended with {ended:?}")),
    }
    leaves_nothing(|| {
        let (mut refused, mut ran, mut died) = (0, 0, 0);
        for _ in 0..count {
            match attempt(&wrong(&mut random))? {
                Ended::Exited(REFUSED) => refused += 1,
                Ended::Exited(_) => ran += 1,
                Ended::Signalled(_) => died += 1,
            }
        }
        println!("images: seed {seed}: {refused} refused, {ran} ran, {died} died");
        if count > 50 && refused == 0 {
            return Err("nothing was refused".to_owned());
        }
        Ok(())
    })?;
    fs::remove_file(PATH).doing(PATH)
}

fn attempt(image: &[u8]) -> Result<Ended, String> {
    fs::write(PATH, image).doing(PATH)?;
    fs::set_permissions(PATH, fs::Permissions::from_mode(0o755)).doing(PATH)?;
    let path = CString::new(PATH).doing(PATH)?;
    let child = start(|| {
        let error = exec(&path, std::slice::from_ref(&path), &[]);
        let known = [
            libc::ENOEXEC,
            libc::ENOENT,
            libc::EACCES,
            libc::EINVAL,
            libc::ENOMEM,
            libc::ELOOP,
            libc::EIO,
            libc::ELIBBAD,
            libc::EISDIR,
            libc::ENOTDIR,
            libc::ENAMETOOLONG,
            libc::EFAULT,
            libc::E2BIG,
        ];
        let known = error
            .raw_os_error()
            .is_some_and(|errno| known.contains(&errno));
        if known { REFUSED } else { 98 }
    })
    .doing("start a child")?;
    match wait_for(child).doing("wait")? {
        Ended::Exited(98) => Err("an errno that execve has not".to_owned()),
        ended => Ok(ended),
    }
}

/// A program that ends with status 42.
fn right() -> Vec<u8> {
    let mut image = Vec::new();
    image.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    for half in [2_u16, 62] {
        image.extend(half.to_le_bytes());
    }
    image.extend(1_u32.to_le_bytes());
    let code_at = 64 + 2 * 56;
    for word in [BASE + code_at, 64, 0] {
        image.extend(word.to_le_bytes());
    }
    image.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 2, 64, 0, 0] {
        image.extend(half.to_le_bytes());
    }
    let length = code_at + CODE.len() as u64;
    // What is loaded, readable and executable; a stack that is not.
    for (kind, flags, words) in [
        (1_u32, 5_u32, [0, BASE, BASE, length, length, 0x1000]),
        (0x6474_e551, 6, [0; 6]),
    ] {
        image.extend(kind.to_le_bytes());
        image.extend(flags.to_le_bytes());
        for word in words {
            image.extend(word.to_le_bytes());
        }
    }
    image.extend(CODE);
    image
}

/// The right one with something wrong.
fn wrong(random: &mut Random) -> Vec<u8> {
    let mut image = right();
    match random.below(8) {
        0 => image.truncate(random.below(image.len() as u64) as usize),
        1 => return script(random),
        2 => {
            // An interpreter that is not there, is no program, or is not a string.
            image[64 + 56] = 3;
            let place = random.pick(&[0, 64, 176, 1 << 40, u64::MAX]);
            image[64 + 56 + 8..][..8].copy_from_slice(&place.to_le_bytes());
            let length = random.pick(&[0_u64, 1, 4, 300, 1 << 20, u64::MAX]);
            image[64 + 56 + 32..][..8].copy_from_slice(&length.to_le_bytes());
        }
        3..=5 => {
            for _ in 0..=random.below(2) {
                // One of the words of the headers.
                let at = 24 + random.below(19) as usize * 8;
                image[at..at + 8].copy_from_slice(&field(random).to_le_bytes());
            }
        }
        _ => {
            for _ in 0..=random.below(4) {
                let at = random.below(176) as usize;
                image[at] = random.next() as u8;
            }
        }
    }
    image
}

fn field(random: &mut Random) -> u64 {
    match random.below(8) {
        0 => 0,
        1 => u64::MAX - random.below(0x2000),
        2 => 1 << random.below(64),
        3 => (1 << 47) - random.below(0x3000),
        4 => BASE + random.below(0x3000),
        5 => random.below(0x1000),
        6 => random.below(4) * 0x1000,
        _ => random.next(),
    }
}

/// A script whose first line is not what it should be.
fn script(random: &mut Random) -> Vec<u8> {
    let long = format!("#!/{}\n", "x".repeat(random.below(600) as usize));
    let own = format!("#!{PATH}\n");
    let lines = [
        "#!",
        "#!\n",
        "#! \t \n",
        "#!/nonexistent\n",
        "#!/tmp\n",
        "#!relative\n",
        "#!/proc/self/maps a b\n",
        "",
        "\0",
        &long,
        &own,
    ];
    random.pick(&lines).as_bytes().to_vec()
}
