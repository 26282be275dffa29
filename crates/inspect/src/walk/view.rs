//! The pictures of regions, where they were asked for.

use crate::memory::Memory;
use crate::snapshot::{PageOwner, PageView, RegionView};
use crate::walk::Walk;

impl<M: Memory> Walk<'_, M> {
    /// Lets `fill` fill in the view of a region, if there is to be one. False:
    /// there is none.
    pub(super) fn view(&mut self, number: u64, fill: impl FnOnce(&mut RegionView)) -> bool {
        if !self.full {
            return false;
        }
        let address = self.address(number);
        // The last region of a large object is met twice.
        if self
            .regions
            .last()
            .is_none_or(|last| last.address != address)
        {
            if !self.source.may_show() {
                return false;
            }
            let page = PageView {
                owner: PageOwner::Free,
                resident: false,
                live: 0,
            };
            self.regions.push(RegionView {
                address,
                pages: vec![page; self.layout.region_pages()],
                spans: Vec::new(),
            });
        }
        if let Some(view) = self.regions.last_mut() {
            fill(view);
        }
        true
    }
}

/// Notes which pages from `first` on have memory.
pub fn set_resident(view: &mut RegionView, first: usize, resident: &[bool]) {
    for (page, &resident) in view.pages.iter_mut().skip(first).zip(resident) {
        page.resident = resident;
    }
}
