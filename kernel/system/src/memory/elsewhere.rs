//! Shared memory of a space that is not where the memory's home is.
//!
//! Law: at home an area shows the frames of its object; elsewhere it names the object, and a page of it that is
//! here is lent to this process alone. So it is a page with contents of its own (the `private` set) and moves as
//! such, until it is given back or comes home with the process, where it becomes the object's page again.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use machine::Frame;

use super::area::{Area, Backing};
use super::limits::PAGE;
use super::migrate::own_frame;
use super::object::{Held, SharedObject};
use super::{Installed, Space, Trouble};

/// The numbers by which home knows shared objects, by their identity.
pub(super) type Names = BTreeMap<usize, u32>;

/// A page of an object: its number, and that of the page.
pub type Part = (u32, u64);

/// The object that an area shows, by number, from which page on.
fn named_part(area: &Area) -> Option<Part> {
    match &area.backing {
        Backing::SharedElsewhere { object, first_page } => Some((*object, *first_page)),
        _ => None,
    }
}

/// Which page an area shows at an address of it, if it shows its object from `first_page` on.
fn index_in(area: &Area, first_page: u64, address: u64) -> u64 {
    first_page + (address - area.start) / PAGE
}

/// Where an area shows a page of what it maps from `first_page` on.
fn place_in(area: &Area, first_page: u64, index: u64) -> Option<u64> {
    let behind = index.checked_sub(first_page)?.checked_mul(PAGE)?;
    (behind < area.length()).then(|| area.start + behind)
}

/// At home.
impl Space {
    /// The objects that it shares.
    pub fn shared_objects(&self) -> Vec<Arc<SharedObject>> {
        let objects = self.areas.iter().filter_map(|area| match &area.backing {
            Backing::SharedAnonymous { object, .. } => Some(object.clone()),
            _ => None,
        });
        objects.collect()
    }

    /// From now on an object can be described to another node: home knows it by this number.
    pub fn name_object(&mut self, object: &Arc<SharedObject>, name: u32) {
        self.names.insert(object.identity(), name);
    }

    /// Nobody here has this page of an object mapped any more.
    pub fn unmap_object(&mut self, identity: usize, index: u64) {
        let places = self.areas.iter().filter_map(|area| match &area.backing {
            Backing::SharedAnonymous { object, first_page } if object.identity() == identity => {
                place_in(area, *first_page, index)
            }
            _ => None,
        });
        for page in places.collect::<Vec<u64>>() {
            // One that is absent is this process's own, and on its way.
            self.table.unmap(page);
        }
    }

    /// The first page of an object in a range that this process had elsewhere and that is on its way.
    pub fn next_coming_home(&self, from: u64, to: u64) -> Option<u64> {
        let shared = self
            .areas
            .overlapping(from, to)
            .filter(|area| area.is_shared());
        let mut coming = shared.filter_map(|area| {
            let next = self.absent.next(area.start.max(from))?;
            (next < area.end.min(to)).then_some(next)
        });
        coming.next()
    }

    /// The process was taken off its processors for a while, in which what it shared may have been lent: it looks for
    /// each page anew.
    pub fn unmap_objects(&mut self) {
        let areas: Vec<(u64, u64)> = self
            .areas
            .iter()
            .filter(|area| area.is_shared())
            .map(|area| (area.start, area.end))
            .collect();
        for (mut next, end) in areas {
            while let Some(page) = self.table.next_mapped(next, end) {
                self.table.unmap(page);
                next = page + PAGE;
            }
        }
    }

    /// The first page of an object in a range that somebody elsewhere has.
    pub fn first_held(&self, from: u64, to: u64) -> Option<Held> {
        let mut held = self.areas.overlapping(from, to).filter_map(|area| {
            let Backing::SharedAnonymous { object, first_page } = &area.backing else {
                return None;
            };
            let index = |at: u64| index_in(area, *first_page, at);
            object.first_lent(index(area.start.max(from)), index(area.end.min(to)))
        });
        held.next()
    }

    /// The pages of objects that this space brings or will bring, or why that cannot be: home has to have lent
    /// each of them to this process.
    ///
    /// # Errors
    /// In words.
    pub fn check_lent(
        &self,
        pid: u32,
        find: impl Fn(u32) -> Option<Arc<SharedObject>>,
    ) -> Result<(), &'static str> {
        for area in self.areas.iter() {
            let Some((number, first_page)) = named_part(area) else {
                continue;
            };
            let object = find(number).ok_or("shared memory that home does not know")?;
            let mut next = area.start;
            while let Some(page) = self.next_own(next, area.end) {
                next = page + PAGE;
                if object.holder(index_in(area, first_page, page)) != Some(pid) {
                    return Err("a page of shared memory that home has not lent it");
                }
            }
        }
        Ok(())
    }

    /// The process has come home: its areas show the objects again, and the pages it has brought are theirs.
    /// What home does not know, which was looked at before, is left as it is.
    pub fn come_home(&mut self, pid: u32, find: impl Fn(u32) -> Option<Arc<SharedObject>>) {
        self.lent_to = pid;
        let areas: Vec<Area> = self.areas.iter().cloned().collect();
        for area in areas {
            let Some((number, first_page)) = named_part(&area) else {
                continue;
            };
            let Some(object) = find(number) else {
                continue;
            };
            let mut next = area.start;
            while let Some(page) = self.private.next(next).filter(|page| *page < area.end) {
                next = page + PAGE;
                if let Some(frame) = self.take(page) {
                    object.give_back(index_in(&area, first_page, page), pid, Some(frame));
                }
            }
            self.areas.update(area.start, area.end, |part| {
                let first_page = index_in(&area, first_page, part.start);
                part.backing = Backing::SharedAnonymous {
                    object: object.clone(),
                    first_page,
                };
            });
        }
    }

    /// The object whose page an address of this space shows, and which page of it.
    fn object_at(&self, page: u64) -> Option<(&SharedObject, u64)> {
        let area = self.areas.find(page)?;
        match &area.backing {
            Backing::SharedAnonymous { object, first_page } => {
                Some((object, index_in(area, *first_page, page)))
            }
            _ => None,
        }
    }

    /// A page came that this process had elsewhere: it is its object's now, if it shows one. Else here is the frame
    /// again.
    pub(super) fn install_in_object(&self, page: u64, frame: Frame) -> Result<(), Frame> {
        let Some((object, index)) = self.object_at(page) else {
            return Err(frame);
        };
        object.give_back(index, self.lent_to, Some(frame));
        Ok(())
    }
}

/// What became of a wish to have a page back.
#[derive(Debug)]
pub enum GivesBack {
    /// Here it is; the process has lost it.
    Page(Frame),
    /// It is still on its way here from the last source.
    Later,
    /// It is not here.
    Nothing,
}

/// Elsewhere.
impl Space {
    /// Whether some of its memory is shared, and its home elsewhere.
    pub fn is_lent(&self) -> bool {
        self.areas.iter().any(Area::is_lent)
    }

    /// Whether some of a range is.
    pub fn is_lent_in(&self, from: u64, to: u64) -> bool {
        self.areas.overlapping(from, to).any(Area::is_lent)
    }

    /// The first page in a range with contents of its own, here or on its way.
    fn next_own(&self, from: u64, to: u64) -> Option<u64> {
        let next = [self.private.next(from), self.absent.next(from)];
        next.into_iter().flatten().min().filter(|page| *page < to)
    }

    /// Which page of an object lies at an address, if its home is elsewhere.
    pub fn lent_at(&self, address: u64) -> Option<Part> {
        let area = self.areas.find(address)?;
        let (object, first_page) = named_part(area)?;
        Some((object, index_in(area, first_page, address)))
    }

    /// Gives the program a page of an object that home has lent it, unless something else is there by now.
    pub fn install_lent(&mut self, page: u64, part: Part, frame: Frame) -> Installed {
        let wanted = page.is_multiple_of(PAGE) && self.lent_at(page) == Some(part);
        if !wanted || self.absent.contains(page) || self.is_resident(page) {
            return Installed::NotWanted;
        }
        let (Ok(own), Some(area)) = (own_frame(frame), self.areas.find(page)) else {
            return Installed::NoMemory;
        };
        if self.table.map(page, own, area.access).is_err() {
            return Installed::NoMemory;
        }
        self.private.insert(page);
        Installed::Yes
    }

    /// Where a page of an object is mapped.
    fn places_of(&self, object: u32, index: u64) -> Vec<u64> {
        let places = self.areas.iter().filter_map(|area| {
            let (number, first_page) = named_part(area)?;
            place_in(area, first_page, index).filter(|_| number == object)
        });
        places.collect()
    }

    /// Shows a page of an object here, which the process may have been lent at another address that it is mapped at.
    pub(super) fn fill_lent(
        &mut self,
        page: u64,
        area: &Area,
        (object, index): Part,
    ) -> Result<(), Trouble> {
        for other in self.places_of(object, index) {
            if self.absent.contains(other) {
                return Err(Trouble::Absent { page: other });
            }
            if let Some(mapping) = self.table.get(other) {
                self.fill_private(page, area, mapping.frame)?;
                self.take(other);
                return Ok(());
            }
        }
        Err(Trouble::NotLent {
            page,
            object,
            index,
        })
    }

    /// Takes a page of an object from the program.
    pub fn take_lent(&mut self, object: u32, index: u64) -> GivesBack {
        let mut later = false;
        for page in self.places_of(object, index) {
            later |= self.absent.contains(page);
            if let Some(frame) = self.take(page) {
                return GivesBack::Page(frame);
            }
        }
        match later {
            true => GivesBack::Later,
            false => GivesBack::Nothing,
        }
    }

    /// The first page in a range that home has lent: its address, its object and which page of that it is.
    pub fn next_lent(&self, from: u64, to: u64) -> Option<(u64, u32, u64)> {
        let areas = self.areas.overlapping(from, to);
        let mut found = areas.filter_map(|area| {
            let (object, first_page) = named_part(area)?;
            let page = self.next_own(area.start.max(from), area.end.min(to))?;
            Some((page, object, index_in(area, first_page, page)))
        });
        found.next()
    }
}

impl Area {
    /// Whether it is shared, and its memory's home elsewhere.
    pub(super) fn is_lent(&self) -> bool {
        named_part(self).is_some()
    }
}
