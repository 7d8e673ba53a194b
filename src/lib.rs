//! sysupdate keeps versioned artifacts on a Linux host current.
//!
//! **Everything before the plan only reads; the plan is a value; everything after the plan only obeys it.**
//!
//! ```text
//! argv ─ cli ─▶ definition ─▶ inventory (source + target instances) ─▶ resolve ─▶ PLAN
//!                                                                                  │
//!       exit ◀─ event ◀─ trial: activate ◀─ install: switch ◀─ acquire ◀───────────┘
//!                            │                                   │
//!                            └─▶ or back     fetch ─▶ verify ─▶ unpack ─▶ storage
//! ```
//!
//! Two loops close that line. Listing a remote source itself fetches and verifies its manifest, so [`inventory`] sits
//! above [`fetch`] and [`verify`]. And installation is two passes over *all* transfers of a run: acquire
//! everything, then switch everything; what stands between them on disk is recognised and continued by the next run.
//! A switch that takes effect on the running system is a [`trial`], on record before the first link moves: it ends with
//! the new version healthy, or with the old one back.
//!
//! # Layers
//!
//! A module may use those below it, never those above; a test reads the `use` lines and holds it to that.
//!
//! ```text
//! cli                                                        arguments, settings, output; the only printer
//! error                                                      one variant per layer, hints
//! session                                                    definitions → inventories
//! trial                                                      switched, merged, healthy: or back
//! install  activate                                          effects
//! plan                                                       what will be done, as a value     (pure)
//! resolve                                                    newest, current, candidate, why   (pure)
//! compat  catalog                                            does an extension fit; what a bakery offers (pure)
//! inventory  suggest                                         what exists: files, manifests, links; what suggests itself
//! definition  fetch  verify  unpack  image  storage          text, bytes in, trust, a look inside, bytes out
//! specifier                                                  %-expansion                       (pure)
//! host                                                       os-release, machine-id, architecture
//! root                                                       the directory that all paths lie beneath
//! gpt                                                        partition tables and types        (pure)
//! version  metadata  pattern  event  extension               values                            (pure)
//! ```
//!
//! `fetch` is the only module that knows of an asynchronous runtime besides `activate` (D-Bus): both show blocking
//! calls to the rest. Side-by-side downloads are threads, each reading a body, hashing and unpacking it, with a second
//! one that writes what comes of it; the network runs in one thread of its own. Shallow channels lie in between.

#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "tests lay out files as anybody would"
    )
)]

pub mod activate;
pub mod catalog;
pub mod cli;
pub mod compat;
pub mod definition;
pub mod error;
pub mod event;
pub mod extension;
pub mod fetch;
pub mod gpt;
pub mod host;
pub mod image;
pub mod install;
pub mod inventory;
pub mod metadata;
pub mod pattern;
pub mod plan;
pub mod resolve;
pub mod root;
pub mod session;
pub mod specifier;
pub mod storage;
pub mod suggest;
pub mod trial;
pub mod unpack;
pub mod verify;
pub mod version;
