//! Page frames as counted heap pages.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::MACHINE;
use crate::{FRAME_KINDS, FrameCounts, FrameKind, OutOfMemory, PAGE_SIZE};

/// Frames in a fresh machine: 256 MiB.
const DEFAULT_FRAMES: u64 = 65_536;

/// The frames of one thread's machine: counted, not kept.
pub(crate) struct Pool {
    counts: Mutex<FrameCounts>,
    /// How many frames are still given before one is not; see [`fail_frame`].
    failing: Mutex<Option<(u64, &'static [FrameKind])>>,
}

impl Pool {
    pub(crate) fn new() -> Pool {
        Pool {
            counts: Mutex::new(FrameCounts {
                total: DEFAULT_FRAMES,
                free: DEFAULT_FRAMES,
                by_kind: [0; FRAME_KINDS],
            }),
            failing: Mutex::new(None),
        }
    }

    /// Whether the frame that is wanted just now is the one that is not there.
    fn fails(&self, kind: FrameKind) -> bool {
        let mut failing = self.failing.lock().expect("nothing panics while counting");
        let Some((left, _)) = failing.as_mut().filter(|(_, kinds)| kinds.contains(&kind)) else {
            return false;
        };
        if *left > 0 {
            *left -= 1;
            return false;
        }
        *failing = None;
        true
    }

    fn counts(&self) -> MutexGuard<'_, FrameCounts> {
        self.counts.lock().expect("nothing panics while counting")
    }
}

/// Makes this thread's machine have `total` frames; those in use beyond it are not taken away.
pub fn set_total_frames(total: u64) {
    MACHINE.with(|machine| {
        let mut counts = machine.frames.counts();
        let used: u64 = counts.by_kind.iter().sum();
        counts.total = total.max(used);
        counts.free = counts.total - used;
    });
}

/// Lets this thread's machine have no frame for one request: the one behind `after` more for any of these
/// kinds. `None`: every request is granted again. Returns what was left of the last order, if its request has
/// not come.
pub fn fail_frame(
    order: Option<(u64, &'static [FrameKind])>,
) -> Option<(u64, &'static [FrameKind])> {
    MACHINE.with(|machine| {
        let mut failing = machine
            .frames
            .failing
            .lock()
            .expect("nothing panics while counting");
        std::mem::replace(&mut *failing, order)
    })
}

/// How this thread's frames are used.
pub fn frame_counts() -> FrameCounts {
    MACHINE.with(|machine| *machine.frames.counts())
}

struct Page {
    bytes: Mutex<Box<[u8; PAGE_SIZE]>>,
    kind: Mutex<FrameKind>,
    number: u64,
    pool: Arc<Pool>,
}

impl Drop for Page {
    fn drop(&mut self) {
        let kind = *self
            .kind
            .get_mut()
            .expect("nothing panics while setting a kind");
        let mut counts = self.pool.counts();
        counts.by_kind[kind as usize] -= 1;
        counts.free += 1;
    }
}

/// One page frame of physical memory, counted by its handles.
#[derive(Clone)]
pub struct Frame(Arc<Page>);

impl Frame {
    /// A frame of zeros.
    ///
    /// # Errors
    /// [`OutOfMemory`] when no frame is free.
    pub fn zeroed(kind: FrameKind) -> Result<Frame, OutOfMemory> {
        static NEXT: AtomicU64 = AtomicU64::new(0x100);
        let pool = MACHINE.with(|machine| machine.frames.clone());
        if pool.fails(kind) {
            return Err(OutOfMemory);
        }
        {
            let mut counts = pool.counts();
            counts.free = counts.free.checked_sub(1).ok_or(OutOfMemory)?;
            counts.by_kind[kind as usize] += 1;
        }
        Ok(Frame(Arc::new(Page {
            bytes: Mutex::new(Box::new([0; PAGE_SIZE])),
            kind: Mutex::new(kind),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            pool,
        })))
    }

    /// As in the kernel; what an owner before has left are these bytes.
    ///
    /// # Errors
    /// As in the kernel.
    pub fn stale(kind: FrameKind) -> Result<Frame, OutOfMemory> {
        let frame = Frame::zeroed(kind)?;
        frame.write(0, &[0xa5; PAGE_SIZE]);
        Ok(frame)
    }

    /// A new frame with the same contents.
    ///
    /// # Errors
    /// [`OutOfMemory`] when no frame is free.
    pub fn copy_of(&self, kind: FrameKind) -> Result<Frame, OutOfMemory> {
        self.part(kind, 0, PAGE_SIZE)
    }

    /// A new frame that begins with a part of this one; the rest is zeros. Panics outside of the page.
    ///
    /// # Errors
    /// [`OutOfMemory`] when no frame is free.
    pub fn part(&self, kind: FrameKind, from: usize, length: usize) -> Result<Frame, OutOfMemory> {
        check(from, length);
        let part = Frame::zeroed(kind)?;
        part.copy_from(0, self, from, length);
        Ok(part)
    }

    /// Says what the frame is used for from now on.
    pub fn set_kind(&self, kind: FrameKind) {
        let mut held = self
            .0
            .kind
            .lock()
            .expect("nothing panics while setting a kind");
        let mut counts = self.0.pool.counts();
        counts.by_kind[*held as usize] -= 1;
        counts.by_kind[kind as usize] += 1;
        *held = kind;
    }

    /// What the frame is used for.
    pub fn kind(&self) -> FrameKind {
        *self
            .0
            .kind
            .lock()
            .expect("nothing panics while setting a kind")
    }

    /// Copies out of the page. Panics outside of it.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        check(offset, into.len());
        into.copy_from_slice(&self.bytes()[offset..offset + into.len()]);
    }

    /// Copies into the page. Panics outside of it.
    pub fn write(&self, offset: usize, from: &[u8]) {
        check(offset, from.len());
        self.bytes()[offset..offset + from.len()].copy_from_slice(from);
    }

    /// Copies out of another page into this one. Panics outside of either.
    pub fn copy_from(&self, offset: usize, source: &Frame, from: usize, length: usize) {
        check(offset, length);
        check(from, length);
        let mut bytes = [0; PAGE_SIZE];
        source.read(from, &mut bytes[..length]);
        self.write(offset, &bytes[..length]);
    }

    /// A word of the page. Panics outside of it and off a word's boundary.
    pub fn load_u32(&self, offset: usize) -> u32 {
        self.change_u32(offset, |word| word)
    }

    /// Changes a word of the page in one step; the value before. Panics outside of the page and off
    /// a word's boundary.
    pub fn change_u32(&self, offset: usize, change: impl Fn(u32) -> u32) -> u32 {
        check(offset, 4);
        assert!(
            offset.is_multiple_of(4),
            "not a word's address: {offset:#x}"
        );
        let mut bytes = self.bytes();
        let word = &mut bytes[offset..offset + 4];
        let old = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        word.copy_from_slice(&change(old).to_le_bytes());
        old
    }

    /// Zeroes a part of the page. Panics outside of it.
    pub fn zero(&self, offset: usize, length: usize) {
        check(offset, length);
        self.bytes()[offset..offset + length].fill(0);
    }

    /// Whether every byte is zero.
    pub fn is_zero(&self) -> bool {
        self.bytes().iter().all(|&byte| byte == 0)
    }

    /// Whether there is more than one handle.
    pub fn is_shared(&self) -> bool {
        self.references() > 1
    }

    /// How many handles there are.
    pub fn references(&self) -> u32 {
        u32::try_from(Arc::strong_count(&self.0)).unwrap_or(u32::MAX)
    }

    /// The physical frame number, unique among live frames.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// The physical address of the first byte.
    pub fn physical(&self) -> u64 {
        self.0.number * PAGE_SIZE as u64
    }

    fn bytes(&self) -> MutexGuard<'_, Box<[u8; PAGE_SIZE]>> {
        self.0.bytes.lock().expect("copies do not panic")
    }
}

fn check(offset: usize, length: usize) {
    assert!(
        offset
            .checked_add(length)
            .is_some_and(|end| end <= PAGE_SIZE),
        "frame access outside of the page: {offset} + {length}"
    );
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({:#x})", self.0.number)
    }
}

impl PartialEq for Frame {
    fn eq(&self, other: &Frame) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Frame {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_follow_the_handles() {
        set_total_frames(2);
        let first = Frame::zeroed(FrameKind::Network).expect("two free");
        let second = first.copy_of(FrameKind::Cache).expect("one free");
        assert_eq!(Frame::zeroed(FrameKind::User), Err(OutOfMemory));
        first.set_kind(FrameKind::User);
        assert_eq!(frame_counts().by_kind, [0, 0, 1, 1, 0, 0]);
        let again = first.clone();
        assert!(first.is_shared() && !second.is_shared());
        assert_eq!(first, again);
        drop((first, second, again));
        assert_eq!(
            frame_counts(),
            FrameCounts {
                total: 2,
                free: 2,
                by_kind: [0; 6]
            }
        );
    }

    #[test]
    fn one_request_fails() {
        set_total_frames(100);
        fail_frame(Some((1, &[FrameKind::User])));
        let first = Frame::zeroed(FrameKind::User).expect("one is granted");
        let other = Frame::zeroed(FrameKind::Cache).expect("of another kind");
        assert_eq!(first.copy_of(FrameKind::User), Err(OutOfMemory));
        assert_eq!(fail_frame(None), None, "it has come");
        first.copy_of(FrameKind::User).expect("only one failed");
        drop(other);
    }

    #[test]
    fn bytes_are_kept() {
        let frame = Frame::zeroed(FrameKind::User).expect("memory");
        assert!(frame.is_zero());
        frame.write(4090, b"abcdef");
        assert!(!frame.is_zero());
        let mut back = [0; 3];
        frame
            .copy_of(FrameKind::User)
            .expect("memory")
            .read(4091, &mut back);
        assert_eq!(&back, b"bcd");
        let part = frame.part(FrameKind::Cache, 4091, 5).expect("memory");
        part.read(3, &mut back);
        assert_eq!(&back, b"ef\0");
        part.zero(0, 5);
        assert!(part.is_zero());
        frame.zero(4090, 6);
        assert!(frame.is_zero());
    }

    #[test]
    #[should_panic(expected = "outside of the page")]
    fn reading_past_the_page_is_a_bug() {
        Frame::zeroed(FrameKind::User)
            .expect("memory")
            .read(4095, &mut [0; 2]);
    }
}
