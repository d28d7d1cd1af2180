//! The Gateway API's objects: what is known of them, and the tables that requests for Gateways are answered from.

mod compile;
mod inputs;
mod watch;

pub(crate) use self::compile::{ApiPort, Comes, Compiled, compile};
pub(crate) use self::inputs::{ApiChange, ApiInputs};
pub(crate) use self::watch::{Kinds, follow};
