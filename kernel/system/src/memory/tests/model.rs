//! Random operations on spaces and on a model made of plain bytes.
//!
//! Law: after every operation the space and the model answer alike, across forks and moves; and when
//! all spaces are gone no frame is left.

use std::collections::BTreeMap;
use std::vec::Vec;

use machine::{Access, Frame, FrameKind, frame_counts};

use super::super::limits::PAGE;
use super::super::{
    Backing, Copies, Installed, Kept, MapHow, MapStop, Sent, SharedObject, Space, SpaceRecords,
    Trouble, outline_sum,
};
use super::{Files, RW, check, file, pattern};

const BASE: u64 = 0x7000_0000;
const PAGES: u64 = 48;
const FILE_BYTES: usize = 10 * PAGE as usize + 700;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Origin {
    Zeros,
    /// Page of the test file, and how many of its bytes are visible.
    File(u64, usize),
    /// Object and page in it.
    Shared(usize, u64),
}

#[derive(Clone, Debug)]
struct ModelPage {
    origin: Origin,
    access: Access,
    /// What was written, if anything was.
    own: Option<Vec<u8>>,
}

#[derive(Clone, Default)]
struct Model {
    pages: BTreeMap<u64, ModelPage>,
}

/// What was written to a shared object, by page of the object.
type Written = BTreeMap<u64, Vec<u8>>;

/// What all processes share.
struct World {
    files: Files,
    contents: Vec<u8>,
    objects: Vec<Written>,
}

struct Process {
    space: Space,
    model: Model,
    /// The frozen space at the last node, while pages are still there.
    source: Option<Space>,
    /// What was told of the memory before a move that has not begun yet.
    outline: Option<Vec<u8>>,
    /// The pages of it that have travelled, and all that ever have.
    copied: Option<(Copies, Sent)>,
    /// What the last node has kept, and what this one had kept when it came here.
    kept: Option<Kept>,
    named: Option<Kept>,
}

impl World {
    fn untouched(&self, origin: Origin) -> Result<Vec<u8>, Trouble> {
        let mut bytes = std::vec![0; PAGE as usize];
        match origin {
            Origin::Zeros => {}
            Origin::File(page, visible) => {
                let start = page as usize * PAGE as usize;
                if visible > 0 && start >= self.contents.len() {
                    return Err(Trouble::Bus);
                }
                let end = self.contents.len().min(start + visible).max(start);
                if visible > 0 {
                    bytes[..end - start].copy_from_slice(&self.contents[start..end]);
                }
            }
            Origin::Shared(object, page) => {
                if let Some(written) = self.objects[object].get(&page) {
                    bytes.copy_from_slice(written);
                }
            }
        }
        Ok(bytes)
    }
}

impl Model {
    fn contents(&self, number: u64, wanted: Access, world: &World) -> Result<Vec<u8>, Trouble> {
        let page = self.pages.get(&number).ok_or(Trouble::Segv)?;
        if page.access.is_empty() || !page.access.contains(wanted) {
            return Err(Trouble::Segv);
        }
        match &page.own {
            Some(bytes) => Ok(bytes.clone()),
            None => world.untouched(page.origin),
        }
    }

    fn read(&self, from: u64, length: usize, world: &World) -> Result<Vec<u8>, Trouble> {
        let mut bytes = Vec::new();
        let end = from + length as u64;
        for number in from / PAGE..end.div_ceil(PAGE) {
            let page = self.contents(number, Access::READ, world)?;
            let low = from.saturating_sub(number * PAGE).min(PAGE) as usize;
            let high = (end - number * PAGE).min(PAGE) as usize;
            bytes.extend_from_slice(&page[low..high]);
        }
        Ok(bytes)
    }

    fn write(&mut self, from: u64, data: &[u8], world: &mut World) -> Result<(), Trouble> {
        let end = from + data.len() as u64;
        for number in from / PAGE..end.div_ceil(PAGE) {
            self.contents(number, Access::WRITE, world)?;
        }
        for (index, &byte) in data.iter().enumerate() {
            let at = from + index as u64;
            let number = at / PAGE;
            let bytes = self.contents(number, Access::WRITE, world)?;
            let page = self.pages.get_mut(&number).expect("checked");
            let store = match page.origin {
                Origin::Shared(object, index) => {
                    world.objects[object].entry(index).or_insert(bytes)
                }
                _ => page.own.get_or_insert(bytes),
            };
            store[(at % PAGE) as usize] = byte;
        }
        Ok(())
    }
}

impl Process {
    /// Brings one page that the program asked for, as the source node would send it.
    fn bring(&mut self, page: u64) {
        if let Some(frame) = self.named.as_mut().and_then(|named| named.take(page)) {
            assert_eq!(self.space.install_as_kept(page, frame), Installed::Yes);
            return;
        }
        let source = self.source.as_mut().expect("absent pages have a source");
        let frame = source.page(page).expect("the source has what it announced");
        assert!(source.send_off(page, true).is_some());
        if frame.is_zero() {
            source.drop_left(page);
            assert_eq!(self.space.install_zero(page, 1), Ok(1));
        } else {
            let copy = frame.copy_of(FrameKind::Network).expect("memory");
            // Who waits for a page is about to change it.
            let installed = match page / PAGE % 5 {
                0 => self.space.install(page, copy),
                _ => self.space.install_as_kept(page, copy),
            };
            assert_eq!(installed, Installed::Yes);
            let late = Frame::zeroed(FrameKind::Network).expect("memory");
            assert_eq!(self.space.install(page, late), Installed::NotWanted);
        }
    }

    fn push(&mut self, most: usize) {
        for _ in 0..most {
            let Some(page) = self.space.next_absent(0) else {
                if let Some(source) = self.source.take() {
                    self.kept = Some(source.into_kept());
                }
                return;
            };
            self.bring(page);
        }
    }

    fn retry<T>(
        &mut self,
        world: &mut World,
        mut action: impl FnMut(&mut Space, &mut Files) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        loop {
            match action(&mut self.space, &mut world.files) {
                Err(Trouble::Absent { page }) => self.bring(page),
                result => return result,
            }
        }
    }

    fn tell_outline(&mut self, goes_back: bool) {
        if self.space.prepare_to_move().is_none() {
            self.push(1);
            self.outline = self.space.outline().ok();
            self.copied = None;
            if !goes_back || self.kept.is_none() {
                self.kept = None;
                self.space.forget_copied();
            }
        }
    }

    /// The target, which was the last node, hears which pages are as they were.
    fn name_kept(&mut self) {
        self.named = self.kept.take();
        let Some(named) = &mut self.named else { return };
        let mut from = 0;
        while let Some((page, count)) = self.space.next_copied(from) {
            assert!(named.name(page, count as u32));
            assert!(!named.name(page, count as u32), "a page is named once");
            from = page + count * PAGE;
        }
        named.forget_others();
        self.space.leave_copied(true);
    }

    /// Some pages travel while the program runs.
    fn copy(&mut self, random: &mut Random) {
        let Some(outline) = &self.outline else { return };
        if self.kept.is_some() {
            return;
        }
        let (copies, sent) = self.copied.get_or_insert_with(|| {
            let space = Space::from_outline(outline).expect("our own outline");
            let known = (random.below(4) > 0).then_some(&space);
            (Copies::new(known).expect("memory"), Sent::default())
        });
        for _ in 0..random.below(12) {
            let from = BASE + random.below(PAGES) * PAGE;
            let Some(page) = self.space.next_uncopied(from) else {
                continue;
            };
            let frame = self.space.copy_out(page).expect("it has to be sent");
            sent.insert(page);
            // Now and then the target has the very frame, as on one node.
            let frame = match random.below(4) {
                0 => frame,
                _ => frame.copy_of(FrameKind::Network).expect("memory"),
            };
            assert_eq!(copies.keep(page, frame), Installed::Yes);
        }
    }

    fn migrate(&mut self) {
        if self.space.prepare_to_move().is_some() {
            assert!(self.space.export().is_err());
            return;
        }
        self.push(1);
        let SpaceRecords {
            areas,
            runs,
            layout,
        } = self.space.export().expect("no obstacle");
        let target = Space::import(&areas, &runs, &layout).expect("our own records");
        if let (Some(outline), Some((sum, changes))) = (self.outline.take(), self.space.changes()) {
            assert_eq!(sum, outline_sum(&outline));
            let mut amended = Space::from_outline(&outline).expect("our own outline");
            amended.apply_changes(&changes).expect("our own changes");
            assert_eq!(amended.absent_count(), target.absent_count());
            let absent = |space: &Space| space.absent_runs();
            assert_eq!(absent(&amended), absent(&target));
            let areas = |space: &Space| space.export_areas();
            assert_eq!(areas(&amended), areas(&target));
            assert_eq!(amended.layout(), target.layout());
        }
        assert_eq!(target.absent_count(), self.space.present_count());
        let mut target = target;
        if let Some((copies, sent)) = self.copied.take() {
            let record = self.space.copied_record(&sent);
            assert_eq!(target.adopt(copies, &record), Ok(()));
            assert_eq!(target.absent_count(), self.space.uncopied_count());
            self.named = None;
        } else {
            self.name_kept();
        }
        self.source = Some(std::mem::replace(&mut self.space, target));
        assert_eq!(self.space.areas().count(), areas.len());
    }
}

fn range(random: &mut Random) -> (u64, u64) {
    let first = random.below(PAGES);
    (first, 1 + random.below((PAGES - first).min(12)))
}

fn rights(random: &mut Random) -> Access {
    match random.below(8) {
        0 => Access::empty(),
        1 => Access::READ,
        2 => Access::READ | Access::EXECUTE,
        _ => RW,
    }
}

fn map(process: &mut Process, world: &mut World, random: &mut Random) {
    let (first, count) = range(random);
    let access = rights(random);
    let visible = |length: u64, index: u64| length.saturating_sub(index * PAGE).min(PAGE) as usize;
    let offset = random.below(8);
    let mut origin: std::boxed::Box<dyn Fn(u64) -> Origin> =
        std::boxed::Box::new(|_| Origin::Zeros);
    let backing = match random.below(8) {
        0..=2 => {
            let length = match random.below(2) {
                0 => count * PAGE,
                _ => random.below(count * PAGE),
            };
            origin = std::boxed::Box::new(move |index| match visible(length, index) {
                0 => Origin::Zeros,
                bytes => Origin::File(offset + index, bytes),
            });
            Backing::File(file(0, offset * PAGE, length))
        }
        3 if world.objects.len() < 6 && random.below(4) == 0 => {
            let object = SharedObject::new();
            world.objects.push(Written::new());
            let number = world.objects.len() - 1;
            origin = std::boxed::Box::new(move |index| Origin::Shared(number, offset + index));
            Backing::SharedAnonymous {
                object,
                first_page: offset,
            }
        }
        _ => Backing::Anonymous,
    };
    let how = match random.below(3) {
        0 => MapHow::FixedNoReplace,
        _ => MapHow::Fixed,
    };
    let start = BASE / PAGE + first;
    let free = process
        .model
        .pages
        .range(start..start + count)
        .next()
        .is_none();
    let mapped = process
        .space
        .map(start * PAGE, count * PAGE, access, backing, how);
    assert_eq!(mapped.is_ok(), how == MapHow::Fixed || free);
    if mapped.is_ok() {
        for index in 0..count {
            let page = ModelPage {
                origin: origin(index),
                access,
                own: None,
            };
            process.model.pages.insert(start + index, page);
        }
    }
}

fn remap(process: &mut Process, random: &mut Random) {
    let (first, old_count) = range(random);
    let (place, new_count) = range(random);
    let (old, place) = (BASE / PAGE + first, BASE / PAGE + place);
    let fixed = random.below(2) == 0;
    if !fixed && first + new_count > PAGES {
        return;
    }
    let shared = |page: &ModelPage| matches!(page.origin, Origin::Shared(..));
    let mut affected = process.model.pages.range(old..old + old_count);
    if new_count > old_count && affected.any(|(_, page)| shared(page)) {
        // What an object holds behind its mappings does not survive a move.
        return;
    }
    let flags = if fixed { 3 } else { 0 };
    let result = loop {
        let (old_length, length) = (old_count * PAGE, new_count * PAGE);
        let result = process
            .space
            .remap(old * PAGE, old_length, length, flags, place * PAGE);
        match result {
            Err(MapStop::Absent { page }) => process.bring(page),
            result => break result,
        }
    };
    let pages = &mut process.model.pages;
    let covers =
        |count: u64| count > 0 && (old..old + count).all(|number| pages.contains_key(&number));
    let covered = covers(old_count);
    let overlap = fixed && place < old + old_count && old < place + new_count;
    if !fixed && new_count <= old_count && pages.contains_key(&old) {
        // What is given back may have holes.
        assert_eq!(result, Ok(old * PAGE));
        (old + new_count..old + old_count).for_each(|number| {
            pages.remove(&number);
        });
        return;
    }
    if result.is_ok() {
        // What is given up may have holes, and so may what is moved as it is.
        let is_less = fixed && new_count < old_count && covers(new_count);
        let is_as_it_is = fixed && new_count == old_count && covers(1);
        assert!((covered || is_less || is_as_it_is) && !overlap);
    } else {
        assert!(!covered || overlap || !fixed || old_count > 1);
        return;
    }
    let target = if fixed { place } else { old };
    assert_eq!(result, Ok(target * PAGE));
    let mut moved: Vec<Option<ModelPage>> = (old..old + old_count)
        .map(|number| pages.remove(&number))
        .collect();
    moved.truncate(new_count as usize);
    while moved.len() < new_count as usize {
        let last = moved.last().and_then(Option::as_ref);
        let last = last.expect("at least one page, and no holes");
        let origin = match last.origin {
            Origin::File(page, visible) if visible == PAGE as usize => {
                Origin::File(page + 1, visible)
            }
            Origin::Shared(object, page) => Origin::Shared(object, page + 1),
            Origin::File(..) | Origin::Zeros => Origin::Zeros,
        };
        moved.push(Some(ModelPage {
            origin,
            access: last.access,
            own: None,
        }));
    }
    for (number, page) in (target..).zip(moved) {
        if let Some(page) = page {
            pages.insert(number, page);
        }
    }
}

fn change(process: &mut Process, random: &mut Random) {
    let (first, count) = range(random);
    let numbers = BASE / PAGE + first..BASE / PAGE + first + count;
    let (start, length) = (numbers.start * PAGE, count * PAGE);
    let pages = &mut process.model.pages;
    let covered = numbers.clone().all(|number| pages.contains_key(&number));
    match random.below(3) {
        0 => {
            assert_eq!(process.space.unmap(start, length), Ok(()));
            numbers.for_each(|number| {
                pages.remove(&number);
            });
        }
        1 => {
            let access = rights(random);
            let done = process.space.protect(start, length, access);
            assert_eq!(done.is_ok(), covered);
            // What lies before a hole has changed.
            let end = numbers.clone().find(|number| !pages.contains_key(number));
            pages
                .range_mut(numbers.start..end.unwrap_or(numbers.end))
                .for_each(|(_, page)| page.access = access);
        }
        _ => {
            let done = process.space.advise(start, length, 4);
            assert_eq!(done.is_ok(), covered);
            pages
                .range_mut(numbers)
                .for_each(|(_, page)| page.own = None);
        }
    }
}

fn access(process: &mut Process, world: &mut World, random: &mut Random) {
    let address = BASE + random.below((PAGES - 3) * PAGE);
    let length = 1 + random.below(2 * PAGE) as usize;
    if random.below(2) == 0 {
        let value = random.below(256) as u8;
        // Every third write stores zeros, so that pages of zeros move too.
        let value = if value.is_multiple_of(3) { 0 } else { value };
        let data = std::vec![value; length];
        let wanted = process.model.write(address, &data, world);
        let got = process.retry(world, |space, files| space.write(address, &data, files));
        assert_eq!(got, wanted, "write of {length} at {address:#x}");
    } else {
        let wanted = process.model.read(address, length, world);
        let got = process.retry(world, |space, files| {
            let mut bytes = std::vec![0; length];
            space.read(address, &mut bytes, files).map(|()| bytes)
        });
        assert!(got == wanted, "read of {length} at {address:#x}");
    }
}

fn step(processes: &mut Vec<Process>, world: &mut World, random: &mut Random) {
    let chosen = random.below(processes.len() as u64) as usize;
    let count = processes.len();
    let process = &mut processes[chosen];
    match random.below(40) {
        0..=5 => map(process, world, random),
        6..=8 => remap(process, random),
        9..=14 => change(process, random),
        15 if count < 4 => {
            process.push(usize::MAX);
            let child = Process {
                space: process.space.fork().expect("memory"),
                model: process.model.clone(),
                source: None,
                outline: None,
                copied: None,
                kept: None,
                named: None,
            };
            processes.push(child);
        }
        16 if count > 1 => {
            processes.swap_remove(chosen);
            return;
        }
        17 => process.migrate(),
        20 => process.tell_outline(random.below(2) == 0),
        21..=23 => process.copy(random),
        18..=19 => process.push(3),
        _ => access(process, world, random),
    }
    check(&processes[chosen].space);
}

#[test]
fn spaces_and_bytes_agree() {
    for seed in 1..=12_u64 {
        let before = frame_counts();
        let contents = pattern(FILE_BYTES);
        let mut files = Files::default();
        files.add(&contents);
        let mut world = World {
            files,
            contents,
            objects: Vec::new(),
        };
        let mut processes = std::vec![Process {
            space: Space::new().expect("memory"),
            model: Model::default(),
            source: None,
            outline: None,
            copied: None,
            kept: None,
            named: None,
        }];
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for _ in 0..1500 {
            step(&mut processes, &mut world, &mut random);
        }
        drop((processes, world));
        assert_eq!(frame_counts(), before, "seed {seed} leaks");
    }
}
