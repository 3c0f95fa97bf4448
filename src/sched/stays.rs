//! Where nodes stay: a number stands for a home and an owner.
//!
//! Invariants:
//!
//! - The number of a root's cell stands for a node that is at home there, and owned by that root.
//! - Any other one is a stay away from home, of one node at a time. It has [`AWAY`], a home for ever, and the root that owns
//!   the node now. Nodes of the same home use it one after the other.
//! - What a number stands for is never unmapped. So whoever has read a node's number may look it up at any time: he finds the
//!   node's home, and a root that owns it, or did, or owns what uses the stay now. That may be wrong by the time he looks, as
//!   any owner may that is not held: he takes hold of it, and looks again.
//!
//! One word for both is half of a pointer to one of them, and changes both at once.

use super::root::Root;
use super::sync::{AtomicPtr, Ordering};

/// Of the number of a stay that is no root's.
const AWAY: u32 = 1 << 31;

/// A stay away from home.
struct Stay {
    home: &'static Root,
    owner: AtomicPtr<Root>,
}

#[inline(always)]
pub(super) fn is_away(number: u32) -> bool {
    number & AWAY != 0
}

/// The home of what has this number. By a call, here and below, which the common path of a node need not have in it: that
/// compares the number with the context's.
#[inline(never)]
pub(super) fn home(number: u32) -> &'static Root {
    if is_away(number) { table::stay(number & !AWAY).home } else { table::root(number) }
}

/// The owner of what has this number.
#[inline(never)]
pub(super) fn owner(number: u32) -> *const Root {
    if is_away(number) { table::stay(number & !AWAY).owner.load(Ordering::Acquire) } else { table::root(number) }
}

/// Makes the cell known by its number.
pub(super) fn enter(root: &'static Root) {
    assert!(!is_away(root.number), "there are fewer than 2^31 roots at a time");
    table::enter(root);
}

/// A stay of a node from `home` with another root.
pub(super) fn begin(home: &'static Root, owner: *const Root) -> u32 {
    let number = match table::free(|free| free.get_mut(&home.number).and_then(Vec::pop)) {
        Some(number) => {
            table::stay(number).owner.store(owner.cast_mut(), Ordering::Release);
            number
        }
        None => table::add(Stay { home, owner: AtomicPtr::new(owner.cast_mut()) }),
    };
    number | AWAY
}

/// Its owner is another one from now on. The old one comes back.
pub(super) fn hand_over(number: u32, owner: *const Root) -> *const Root {
    let owned = &table::stay(number & !AWAY).owner;
    let old = owned.load(Ordering::Relaxed);
    owned.store(owner.cast_mut(), Ordering::Release);
    old
}

/// The stay is over, and no node has its number.
pub(super) fn end(number: u32) {
    let number = number & !AWAY;
    let home = table::stay(number).home;
    table::free(|free| free.entry(home.number).or_default().push(number));
}

/// Stays that are in no use, by home. Held for a moment, and with nothing else.
type Free = std::collections::HashMap<u32, Vec<u32>>;

cfg_if::cfg_if! {
    if #[cfg(loom)] {
        /// As below, for each interleaving. Loom's threads are all on one of the system's, and change nowhere in here.
        mod table {
            use super::{Free, Root, Stay};
            use std::cell::RefCell;
            use std::collections::HashMap;

            #[derive(Default)]
            struct Tables {
                roots: HashMap<u32, &'static Root>,
                stays: Vec<&'static Stay>,
                free: Free,
            }

            std::thread_local! {
                static TABLES: RefCell<Tables> = RefCell::new(Tables::default());
            }

            pub(super) fn root(number: u32) -> &'static Root {
                TABLES.with(|tables| tables.borrow().roots[&number])
            }

            pub(super) fn stay(number: u32) -> &'static Stay {
                TABLES.with(|tables| tables.borrow().stays[number as usize - 1])
            }

            pub(super) fn enter(root: &'static Root) {
                TABLES.with(|tables| tables.borrow_mut().roots.insert(root.number, root));
            }

            pub(super) fn add(stay: Stay) -> u32 {
                TABLES.with(|tables| {
                    let stays = &mut tables.borrow_mut().stays;
                    stays.push(Box::leak(Box::new(stay)));
                    stays.len() as u32
                })
            }

            pub(super) fn free<R>(f: impl FnOnce(&mut Free) -> R) -> R {
                TABLES.with(|tables| f(&mut tables.borrow_mut().free))
            }

            /// Unmaps those of the last interleaving.
            #[cfg(test)]
            pub(in crate::sched) fn unmap_all() {
                let tables = TABLES.with(|tables| std::mem::take(&mut *tables.borrow_mut()));
                for stay in tables.stays {
                    // Not dropped: what loom knew of it is gone.
                    // SAFETY: made by leaking; the interleaving that it was made for is over.
                    drop(unsafe { Box::from_raw(std::ptr::from_ref(stay).cast_mut().cast::<std::mem::MaybeUninit<Stay>>()) });
                }
            }
        }

        #[cfg(test)]
        pub(super) use table::unmap_all;
    } else {
        mod table {
            use super::{Free, Root, Stay};
            use std::ptr;
            use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
            use std::sync::{LazyLock, Mutex, PoisonError};

            static ROOTS: Table<Root> = Table::new();
            static STAYS: Table<Stay> = Table::new();
            static LAST: AtomicU32 = AtomicU32::new(0);
            static FREE: LazyLock<Mutex<Free>> = LazyLock::new(Mutex::default);

            /// What lasts for ever, by number, from 1 on: in segments that are as large as all before together.
            struct Table<T: 'static>([AtomicPtr<AtomicPtr<T>>; 31]);

            impl<T> Table<T> {
                const fn new() -> Self {
                    Self([const { AtomicPtr::new(ptr::null_mut()) }; 31])
                }

                /// # Safety
                /// It was set: whoever knows the number has it, directly or not, from the one who did that.
                #[inline(always)]
                unsafe fn get(&self, number: u32) -> &'static T {
                    let segment = number.ilog2();
                    let at = (number - (1 << segment)) as usize;
                    // SAFETY: by contract the segment is there, which has `1 << segment` places, and in this one the thing.
                    unsafe { &*(*self.0[segment as usize].load(Ordering::Acquire).add(at)).load(Ordering::Acquire) }
                }

                fn set(&self, number: u32, thing: &'static T) {
                    let segment = number.ilog2();
                    let at = (number - (1 << segment)) as usize;
                    let places = self.segment(segment as usize);
                    // SAFETY: as many places as are asked for below.
                    unsafe { (*places.add(at)).store(ptr::from_ref(thing).cast_mut(), Ordering::Release) };
                }

                fn segment(&self, segment: usize) -> *mut AtomicPtr<T> {
                    let known = self.0[segment].load(Ordering::Acquire);
                    if !known.is_null() {
                        return known;
                    }
                    let fresh: Box<[AtomicPtr<T>]> = (0..1_usize << segment).map(|_| AtomicPtr::default()).collect();
                    let fresh = Box::into_raw(fresh);
                    let first = fresh.cast::<AtomicPtr<T>>();
                    match self.0[segment].compare_exchange(
                        ptr::null_mut(),
                        first,
                        Ordering::AcqRel,
                        Ordering::Acquire,
                    ) {
                        Ok(_) => first,
                        Err(known) => {
                            // SAFETY: made just now, and known to nobody.
                            drop(unsafe { Box::from_raw(fresh) });
                            known
                        }
                    }
                }
            }

            #[inline(always)]
            pub(super) fn root(number: u32) -> &'static Root {
                // SAFETY: a root is entered before anybody knows it.
                unsafe { ROOTS.get(number) }
            }

            #[inline(always)]
            pub(super) fn stay(number: u32) -> &'static Stay {
                // SAFETY: a stay is added before anybody knows its number.
                unsafe { STAYS.get(number) }
            }

            pub(super) fn enter(root: &'static Root) {
                ROOTS.set(root.number, root);
            }

            pub(super) fn add(stay: Stay) -> u32 {
                let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
                assert!(!super::is_away(number), "there are fewer than 2^31 stays: as many as nodes of each home were away at a time");
                STAYS.set(number, Box::leak(Box::new(stay)));
                number
            }

            pub(super) fn free<R>(f: impl FnOnce(&mut Free) -> R) -> R {
                f(&mut FREE.lock().unwrap_or_else(PoisonError::into_inner))
            }

            #[cfg(test)]
            mod tests {
                use super::*;

                #[test]
                fn a_table_finds_what_it_was_given() {
                    static NUMBERS: Table<u32> = Table::new();
                    std::thread::scope(|scope| {
                        for part in 0..4 {
                            scope.spawn(move || {
                                for number in (1..=1000_u32).filter(|number| number % 4 == part) {
                                    NUMBERS.set(number, Box::leak(Box::new(number)));
                                }
                            });
                        }
                    });
                    for number in 1..=1000 {
                        // SAFETY: set above.
                        assert_eq!(unsafe { NUMBERS.get(number) }, &number);
                    }
                }
            }
        }
    }
}
