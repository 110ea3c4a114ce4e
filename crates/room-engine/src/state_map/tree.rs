use super::{Chunk, Chunks, Place, StateMapError, read::load_row};

/// A map that has branches.
#[derive(Debug)]
pub(super) struct Tree<'c, C: ?Sized> {
    pub(super) chunks: &'c C,
    pub(super) root: Chunk,
}

/// Where a chunk is.
#[derive(Debug, Clone)]
pub(super) struct Located {
    /// The parent.
    pub(super) branch: Chunk,
    /// The row of the chunk in its parent.
    pub(super) row: usize,
    /// The first place of the next chunk on the level; none behind the last one.
    pub(super) next: Option<Place>,
}

impl Located {
    /// The first place of the chunk.
    pub(super) fn place(&self) -> Place {
        self.branch.place(self.row)
    }
}

impl<C: Chunks + ?Sized> Tree<'_, C> {
    /// The chunk of a level below the root that has `place` or would have it.
    pub(super) fn locate(&self, level: u8, place: Place) -> Result<Located, StateMapError> {
        self.walk(level, |branch| branch.rows_up_to(place).saturating_sub(1))
    }

    /// The chunk before the one that begins with `place`.
    pub(super) fn locate_before(&self, level: u8, place: Place) -> Result<Option<Located>, StateMapError> {
        if self.root.place(0) >= place {
            return Ok(None);
        }
        self.walk(level, |branch| branch.rows_before(place).saturating_sub(1)).map(Some)
    }

    fn walk(&self, level: u8, row_of: impl Fn(&Chunk) -> usize) -> Result<Located, StateMapError> {
        let mut branch = self.root.clone();
        let mut next = None;
        loop {
            let row = row_of(&branch);
            if row + 1 < branch.rows() {
                next = Some(branch.place(row + 1));
            }
            if branch.level() <= level + 1 {
                return Ok(Located { branch, row, next });
            }
            branch = load_row(self.chunks, &branch, row)?;
        }
    }

    /// The chunk itself.
    pub(super) fn load(&self, located: &Located) -> Result<Chunk, StateMapError> {
        load_row(self.chunks, &located.branch, located.row)
    }
}
