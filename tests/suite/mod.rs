//! One module per promise.

mod choices;
mod components;
mod conflicts;
mod examples;
mod frontend;
mod harness;
mod http;
mod layers;
mod links;
mod locking;
mod main_path;
mod manifest;
mod measure;
mod mirrors;
mod neighbours;
mod ranges;
mod recovery;
mod resume;
mod retention;
mod retries;
mod secrets;
mod server;
mod signatures;
mod trust;
mod two_transfers;
mod usage;
