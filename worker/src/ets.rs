//! For who knows ETS: each function of Erlang's `ets`, and what one writes here instead.
//!
//! Nothing but documentation; a test compares it with what `ets` exports. In short: the owner's calls are [`Writer`]'s, everybody's reads are [`Reader`]'s, what is consistent is a
//! [`Snapshot`], and what ETS does not have is a [`Transaction`], a [`Watch`](crate::Watch), and a table that is still
//! there when its owner is not. An object is a key and a value (a tuple or struct, for several fields), so there is no `keypos`.
//!
//! # One object
//!
//! | ETS | here |
//! | --- | --- |
//! | `insert/2` | [`Writer::insert`]; a list, atomically: [`Transaction::extend`] |
//! | `insert_new/2` | [`Writer::insert_new`]; a list: [`Transaction::insert_new`] for each, dropped where one is false |
//! | `lookup/2` | [`Reader::get`]; in a bag [`Reader::values`] |
//! | `lookup_element/3`, `/4` (with a default) | [`Reader::get`] and a field of it; `unwrap_or` |
//! | `member/2` | [`Reader::contains`] |
//! | `take/2` | [`Writer::take`] |
//! | `delete/2` | [`Writer::remove`] |
//! | `delete_object/2` | [`Writer::remove_value`] |
//! | `update_counter/3`, `/4` (with a default) | [`Writer::add`], [`Writer::add_step`] with a start and a threshold |
//! | `update_element/3`, `/4` (with a default) | [`Writer::update`] |
//!
//! ```
//! use heirloom_worker::testing::{self, Table};
//! use heirloom_worker::Step;
//!
//! let (mut writer, reader) = testing::table::<String, (u64, String)>(Table::set("cars"));
//! writer.insert("Zonda", &(1999, "Pagani".into()))?;                    // ets:insert(T, {"Zonda", 1999, "Pagani"})
//! assert!(!writer.insert_new("Zonda", &(0, String::new()))?);           // ets:insert_new
//! assert_eq!(reader.get("Zonda")?, Some((1999, "Pagani".into())));      // ets:lookup
//! assert_eq!(reader.get("Zonda")?.map(|(year, _)| year), Some(1999));   // ets:lookup_element(T, "Zonda", 2)
//! assert_eq!(reader.get("Enzo")?.map_or(0, |(year, _)| year), 0);       // ets:lookup_element(T, "Enzo", 2, 0)
//! assert!(reader.contains("Zonda")?);                                   // ets:member
//! writer.update("Zonda", |car| car.map(|(_, maker)| (2017, maker)))?;   // ets:update_element(T, "Zonda", {2, 2017})
//! writer.update("Enzo", |car| Some(car.unwrap_or((2002, "Ferrari".into()))))?; // ... with a default
//! assert_eq!(writer.take("Zonda")?, Some((2017, "Pagani".into())));     // ets:take
//! assert!(writer.remove("Enzo")?);                                      // ets:delete(T, "Enzo")
//!
//! let (mut hits, _) = testing::table::<str, i64>(Table::set("hits"));
//! assert_eq!(hits.add("page", 3)?, 3);                                  // ets:update_counter(T, page, 3, {page, 0})
//! let step = Step::by(1).starting_at(10).wrapping_beyond(11, 0);        // {2, 1, 11, 0}, default {ticket, 10}
//! assert_eq!(hits.add_step("ticket", step)?, 11);
//! assert_eq!(hits.add_step("ticket", step)?, 0);
//!
//! let (mut bids, reader) = testing::table::<str, u32>(Table::duplicate_bag("bids"));
//! for bid in [310, 295, 310] {
//!     bids.insert("Zonda", &bid)?;
//! }
//! assert_eq!(reader.values("Zonda")?, [310, 295, 310]);                 // ets:lookup in a duplicate_bag
//! assert_eq!(bids.remove_value("Zonda", &310)?, 2);                     // ets:delete_object
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # All objects, and those of a pattern
//!
//! A match specification is a little program that the virtual machine runs beside the table. Here the filter is Rust: a closure that
//! sees each entry where it lies. What a pattern fixes of the key is a range or a prefix of an ordered table, which visits
//! nothing else.
//!
//! | ETS | here |
//! | --- | --- |
//! | `foldl/3`, `foldr/3` | [`Reader::scan`]; [`Reader::range`], descending |
//! | `tab2list/1` | [`Reader::entries`] |
//! | `match/2`, `match_object/2`, `select/2` | [`Reader::scan`], [`Reader::range`] or [`Reader::prefix`], with an `if` |
//! | `match/3`, `match_object/3`, `select/3` with a limit; `match/1`, `match_object/1`, `select/1` to go on | the same, [broken off](std::ops::ControlFlow::Break) with the last key; on from there with [`Reader::range`] |
//! | `select_reverse/1`, `/2`, `/3` | [`Reader::range`], descending |
//! | `select_count/2` | the same, counting |
//! | `select_delete/2`, `match_delete/2` | a scan that notes the keys, and a [`Transaction`] that removes them |
//! | `select_replace/2` | the same with [`Transaction::update`] |
//! | `delete_all_objects/1` | [`Writer::clear`] |
//! | `first/1`, `last/1`, `next/2`, `prev/2` | [`Reader::first`], [`Reader::last`], [`Reader::next`], [`Reader::prev`] |
//! | `first_lookup/1`, `last_lookup/1`, `next_lookup/2`, `prev_lookup/2` | the same: they return the value too |
//! | `safe_fixtable/2` | nothing to do: a scan visits what stands throughout exactly once, whatever is written; what shall stand still is a [`Snapshot`] |
//! | `init_table/2`, `insert/2` of a long list | [`Writer::extend`]; from a file, the configuration's `hydrate` |
//!
//! ```
//! use heirloom_worker::testing::{self, Table};
//! use heirloom_worker::Order;
//! use std::ops::ControlFlow;
//!
//! let (mut writer, reader) = testing::table::<(u16, String), u64>(Table::ordered_set("sales"));
//! writer.extend([                                                       // ets:init_table
//!     ((2021, "Zonda".to_owned()), 3_u64),
//!     ((2022, "Huayra".to_owned()), 5),
//!     ((2022, "Zonda".to_owned()), 8),
//! ])?;
//! let mut sold = 0;                                                     // ets:foldl
//! reader.scan(|_, count| { sold += count; ControlFlow::<()>::Continue(()) })?;
//! assert_eq!(sold, 16);
//! assert_eq!(reader.entries()?.len(), 3);                               // ets:tab2list
//!
//! let mut cars = Vec::new();                                            // ets:match(T, {{2022, '$1'}, '_'})
//! reader.prefix(&(2022_u16,), Order::Ascending, |(_, car), _| { cars.push(car); ControlFlow::<()>::Continue(()) })?;
//! assert_eq!(cars, ["Huayra", "Zonda"]);
//! let mut page = Vec::new();                                            // ets:select(T, Spec, 2)
//! let last = reader.scan(|key, _| {
//!     page.push(key.clone());
//!     if page.len() == 2 { ControlFlow::Break(key) } else { ControlFlow::Continue(()) }
//! })?.expect("there are more");
//! let next = reader.next(&last)?;                                       // ets:select(Continuation); ets:next_lookup
//! assert_eq!(next.map(|(key, _)| key), Some((2022, "Zonda".into())));
//! let newest = reader.range::<(u16, String), _>(.., Order::Descending, |key, _| ControlFlow::Break(key))?; // select_reverse
//! assert_eq!(newest, reader.last()?.map(|(key, _)| key));               // ets:last
//! assert_eq!(reader.first()?.map(|(_, sold)| sold), Some(3));           // ets:first_lookup
//! assert_eq!(reader.prev(&(2022, String::new()))?.map(|(key, _)| key.0), Some(2021)); // ets:prev
//!
//! let mut few = Vec::new();                                             // ets:select_delete, ets:match_delete
//! reader.scan(|key, sold| { if sold < 5 { few.push(key) } ControlFlow::<()>::Continue(()) })?;
//! let mut transaction = writer.transaction();
//! for key in &few {
//!     transaction.remove(key)?;
//! }
//! transaction.update(&last, |sold| sold.map(|sold| sold * 2))?;         // ets:select_replace
//! transaction.commit()?;
//! assert_eq!(reader.get(&last)?, Some(10));
//!
//! let snapshot = reader.snapshot()?;                                    // instead of ets:safe_fixtable
//! assert_eq!(writer.clear()?, 2);                                       // ets:delete_all_objects
//! assert_eq!((snapshot.len()?, reader.len()), (2, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The table itself
//!
//! | ETS | here |
//! | --- | --- |
//! | `new/2` | a `[[table]]` of the configuration, or `Table` of an embedded manager; the types `set`, `ordered_set`, `bag`, `duplicate_bag` are the same, and so is `protected`; `private` is `access = "private"`; `public` has no counterpart yet: one owner writes |
//! | `{heir, Pid, Data}`, `setopts/2` | the configuration: `find_me` says who inherits, `gift_data` what it is told ([`Transfer::gift`]); what the last owner has to say itself is the bequest ([`Writer::bequeath`], [`Transfer::bequest`]) |
//! | `give_away/3`, `'ETS-TRANSFER'` | [`Writer::release`], and [`Client::hand_on`](crate::Client::hand_on) to somebody; [`TableHeir::transferred`] |
//! | `info/1`, `info/2` | [`Reader::info`], [`Reader::len`], [`Client::status`](crate::Client::status) |
//! | `i/0`, `all/0` | `heirloom status` |
//! | `i/1`, `i/2`, `i/3` | `heirloom scan TABLE`, a page at a time with `--limit` and `--from` |
//! | `whereis/1` | [`Client::reader`](crate::Client::reader): tables are known by their id only |
//! | `delete/1` | none: a table lives as long as the configuration has it. [`Writer::clear`] empties it, and its memory goes back to the host as the owner writes on |
//! | `rename/2` | none: the id is the configuration's, and readers in other processes know it |
//! | `tab2file/2`, `/3`, `file2tab/1`, `/2`, `tabfile_info/1` | `heirloom dump`, `heirloom load`: CSV, JSON lines, or a binary form with checksums |
//! | `to_dets/2`, `from_dets/2` | the configuration: `durability` writes checkpoints by itself, `hydrate` reads them |
//! | `table/1`, `/2` (for `qlc`) | none: iterators and closures are Rust's query language; see [`Reader::scan`] |
//! | `slot/2` | none: it shows how ETS hashes. A scan goes through everything |
//! | `fun2ms/1`, `match_spec_compile/1`, `match_spec_run/2`, `match_spec_run_r/3`, `is_compiled_ms/1`, `test_ms/2`, `repair_continuation/2` | none: there are no match specifications; filters are closures |
//! | `internal_delete_all/2`, `internal_request_all/0`, `internal_select_delete/2`, `module_info/0`, `module_info/1` | none: exported, but not for users |
//!
//! ```
//! use heirloom_worker::testing::{Rehearsal, Table};
//! use heirloom_worker::Kind;
//!
//! let mut sales = Rehearsal::new(Table::ordered_set("sales")).gift(&"USD"); // {heir, Pid, "USD"}
//! let mut owner = sales.transfer().accept::<str, u64>()?;               // {'ETS-TRANSFER', T, From, "USD"}
//! owner.insert("Zonda", &1)?;
//! owner.bequeath(&17_u64)?;
//! assert_eq!((owner.info().kind, owner.info().entries), (Kind::OrderedSet, 1)); // ets:info
//! owner.release()?;                                                     // ets:give_away
//!
//! let transfer = sales.transfer();
//! assert_eq!(transfer.gift::<String>()?, "USD");
//! assert_eq!(transfer.bequest::<u64>()?, Some(17));
//! assert_eq!(transfer.accept::<str, u64>()?.get("Zonda")?, Some(1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What ETS promises, and what is promised here
//!
//! | | ETS | here |
//! | --- | --- | --- |
//! | one write | atomic and isolated | the same, and it survives `kill -9` |
//! | several writes | a list of one `insert` | a [`Transaction`] of anything, with the bequest |
//! | a read | copies the term | the same: decodes from the bytes, in any process |
//! | keys in order | Erlang's term order | the order of the Rust values; see [`crate::key`] |
//! | `1` and `1.0` as keys | equal in an `ordered_set` | keys have one type |
//! | an owner's death | the table dies, or goes to its heir if that lives | the table goes to whoever is ready, or waits |

#[allow(unused_imports, reason = "for the links above")]
use crate::{Reader, Snapshot, TableHeir, Transaction, Transfer, Writer};
