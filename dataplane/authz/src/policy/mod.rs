//! Policies: documents in which the owner of a thing says who may what with it, in the language of AWS IAM (version
//! 2012-10-17; "IAM JSON policy reference"), so that what exists for it goes on working.
//!
//! Whatever a document says that is not known here makes it invalid: nothing of it is silently ignored.

mod condition;
mod document;
mod pattern;

pub use self::document::{Asked, Effect, Policy, PolicyError};
